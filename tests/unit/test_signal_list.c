/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/signal_list.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>

static struct signal_list list;
static struct mu_buf said;

static uint64_t bit(int signo)
{
    return UINT64_C(1) << (signo - 1);
}

static void parse(const char *text)
{
    said.len = 0;
    signal_list_parse("signals-to-handle", text, &list, &said);
    mu_buf_append_u8(&said, '\0');
}

static void expect_said(const char *text)
{
    assert_string_equal((const char *)said.data, text);
}

static void names(void **state)
{
    (void)state;
    parse("SIGTERM,SIGINT,SIGHUP,SIGQUIT");
    assert_int_equal(list.bits, bit(SIGTERM) | bit(SIGINT) | bit(SIGHUP) | bit(SIGQUIT));
    expect_said("");
    parse(" usr1 ,SIGXCPU, sigalrm,\tCONT,SIGPOLL");
    assert_int_equal(list.bits,
                     bit(SIGUSR1) | bit(SIGXCPU) | bit(SIGALRM) | bit(SIGCONT) | bit(SIGIO));
    expect_said("");
    assert_true(signal_list_has(&list, SIGUSR1));
    assert_false(signal_list_has(&list, SIGUSR2));
    assert_false(signal_list_has(&list, 0));
    assert_false(signal_list_has(&list, 65));
}

static void real_time(void **state)
{
    (void)state;
    parse("SIGRTMIN,RTMIN+1,SIGRTMAX,sigrtmax-1");
    assert_int_equal(list.bits,
                     bit(SIGRTMIN) | bit(SIGRTMIN + 1) | bit(SIGRTMAX) | bit(SIGRTMAX - 1));
    expect_said("");
    parse("SIGRTMIN-1,SIGRTMAX+1,SIGRTMIN+,SIGRTMIN+31,RTMIN+999999999999999999999");
    assert_int_equal(list.bits, 0);
    assert_non_null(strstr((const char *)said.data, "there is no signal 'SIGRTMIN-1'"));
    assert_non_null(strstr((const char *)said.data, "there is no signal 'SIGRTMIN+31'"));
}

static void empty(void **state)
{
    (void)state;
    static const char *const texts[] = {"", " ", ",", " , ,,"};
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        parse(texts[i]);
        assert_int_equal(list.bits, 0);
        expect_said("");
    }
}

/* The rest of the list counts. */
static void unknown(void **state)
{
    (void)state;
    parse("SIGTREM,SIGINT,USR3,15,bananas");
    assert_int_equal(list.bits, bit(SIGINT));
    expect_said("--signals-to-handle: there is no signal 'SIGTREM'; did you mean SIGTERM?\n"
                "--signals-to-handle: there is no signal 'USR3'; did you mean SIGUSR1?\n"
                "--signals-to-handle: there is no signal '15'\n"
                "--signals-to-handle: there is no signal 'bananas'\n");
}

static void refused(void **state)
{
    (void)state;
    parse("KILL,SIGSTOP,SIGCHLD,SIGPIPE,SIGSEGV,SIGABRT,SIGTERM");
    assert_int_equal(list.bits, bit(SIGTERM));
    assert_non_null(
        strstr((const char *)said.data, "SIGKILL cannot end the job: no program can handle it\n"));
    assert_non_null(strstr((const char *)said.data, "SIGSTOP cannot end the job"));
    assert_non_null(strstr((const char *)said.data, "SIGCHLD cannot end the job"));
    assert_non_null(strstr((const char *)said.data, "SIGPIPE cannot end the job"));
    assert_non_null(strstr((const char *)said.data, "SIGSEGV cannot end the job"));
    assert_non_null(strstr((const char *)said.data, "SIGABRT cannot end the job"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),   cmocka_unit_test(real_time), cmocka_unit_test(empty),
        cmocka_unit_test(unknown), cmocka_unit_test(refused),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    mu_buf_fini(&said);
    return rc;
}
