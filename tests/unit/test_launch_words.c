/* SPDX-License-Identifier: Apache-2.0 */
/* What --launch writes for others: words for shells, frames for the other side, sentences. */
#include "launcher/launch_explain.h"
#include "launcher/launch_order.h"
#include "launcher/shell_words.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

/* ---- shell_words ---- */

/* The words with '|' behind each; or the error. */
static char *split(const char *text)
{
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf out = {0};
    size_t count = 0;
    char **words = shell_words_split(text, &count, &err);
    if (words == NULL) {
        assert_int_equal(err.code, MU_E_USAGE);
        return mu_strdup(err.text);
    }
    for (size_t i = 0; i < count; i++) {
        mu_buf_printf(&out, "%s|", words[i]);
    }
    assert_null(words[count]);
    shell_words_free(words);
    return mu_buf_take_text(&out);
}

static void test_split(void **state)
{
    static const char *const cases[][2] = {
        {"ssh", "ssh|"},
        {"  ssh -p 2222\t-i key ", "ssh|-p|2222|-i|key|"},
        {"ssh -i 'my key' -o \"A B\"", "ssh|-i|my key|-o|A B|"},
        {"a\\ b 'c\\d' \"e\\\"f\" g''h ''", "a b|c\\d|e\"f|gh||"},
        {"a$HOME `b`", "a$HOME|`b`|"},
        {"ssh 'x", "'ssh 'x' has a quote without its end"},
        {"  ", "'  ' is no command"},
        {"", "'' is no command"},
    };
    (void)state;
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        mu_autofree char *found = split(cases[i][0]);
        assert_string_equal(found, cases[i][1]);
    }
    char many[2 * (SHELL_WORDS_MAX + 1) + 1] = "";
    for (int i = 0; i <= SHELL_WORDS_MAX; i++) {
        memcpy(many + (size_t)i * 2, "x ", 3);
    }
    mu_autofree char *found = split(many);
    assert_non_null(strstr(found, "has too many words"));
}

static void test_quote(void **state)
{
    static const char *const cases[][2] = {
        {"/usr/bin/muster", "/usr/bin/muster"},
        {"/opt/my tools/muster", "'/opt/my tools/muster'"},
        {"$HOME/`x`;#~*?", "'$HOME/`x`;#~*?'"},
        {"", "''"},
    };
    static const char *const bad[] = {"it's", "a\\b", "a!b", "a\nb"};
    (void)state;
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct mu_buf out = {0};
        assert_int_equal(shell_words_quote(cases[i][0], &out, NULL), 0);
        mu_autofree char *text = mu_buf_take_text(&out);
        assert_string_equal(text, cases[i][1]);
    }
    for (size_t i = 0; i < MU_COUNT(bad); i++) {
        struct mu_buf out = {0};
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(shell_words_quote(bad[i], &out, &err), -1);
        assert_int_equal(err.code, MU_E_USAGE);
        assert_int_equal(out.len, 0);
    }
}

/* ---- launch_order ---- */

static const char *const words[] = {"run", "a b", "", "line\nbreak", NULL};
static const char *const variables[] = {"A=1", "B=", "C= = ", NULL};

static void make_frame(struct mu_buf *frame)
{
    struct launch_order order = {.directory = (char *)(uintptr_t) "/some where",
                                 .args = (char **)(uintptr_t)words,
                                 .env = (char **)(uintptr_t)variables};
    assert_int_equal(launch_order_encode(&order, frame, NULL), 0);
}

static void test_order_round_trip(void **state)
{
    (void)state;
    struct mu_buf frame = {0};
    struct launch_order order;
    size_t len = 0;
    make_frame(&frame);
    assert_int_equal(launch_order_length(frame.data, &len, NULL), 0);
    assert_int_equal(len, frame.len - LAUNCH_ORDER_HEADER);
    assert_int_equal(launch_order_decode(frame.data + LAUNCH_ORDER_HEADER, len, &order, NULL), 0);
    assert_string_equal(order.directory, "/some where");
    assert_int_equal(order.arg_count, MU_COUNT(words) - 1);
    for (size_t i = 0; i < MU_COUNT(words) - 1; i++) {
        assert_string_equal(order.args[i], words[i]);
    }
    for (size_t i = 0; i < MU_COUNT(variables) - 1; i++) {
        assert_string_equal(order.env[i], variables[i]);
    }
    assert_null(order.args[order.arg_count]);
    launch_order_fini(&order);
    mu_buf_fini(&frame);
}

static void assert_is_no_order(const void *data, size_t len)
{
    struct launch_order order;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(launch_order_decode(data, len, &order, &err), -1);
    assert_int_equal(err.code, MU_E_PROTOCOL);
}

static void test_order_that_is_none(void **state)
{
    (void)state;
    struct mu_buf frame = {0};
    struct mu_err err = MU_ERR_INIT;
    size_t len = 0;
    make_frame(&frame);
    for (size_t n = 0; n + LAUNCH_ORDER_HEADER < frame.len; n++) {
        assert_is_no_order(frame.data + LAUNCH_ORDER_HEADER, n);
    }
    mu_buf_append_u8(&frame, 0);
    assert_is_no_order(frame.data + LAUNCH_ORDER_HEADER, frame.len - LAUNCH_ORDER_HEADER);
    frame.data[LAUNCH_ORDER_HEADER + 5] = '\0'; /* within the directory */
    assert_is_no_order(frame.data + LAUNCH_ORDER_HEADER, frame.len - 1 - LAUNCH_ORDER_HEADER);
    frame.len = 0;
    mu_buf_append_u32(&frame, LAUNCH_ORDER_MAX + 1);
    assert_int_equal(launch_order_length(frame.data, &len, &err), -1);
    mu_buf_put_u32(&frame, 0, 0);
    assert_int_equal(launch_order_length(frame.data, &len, &err), -1);
    frame.len = 0;
    mu_buf_append_u32(&frame, 0);          /* "" */
    mu_buf_append_u32(&frame, 0xffffffff); /* words */
    mu_buf_append_u32(&frame, 0);
    assert_is_no_order(frame.data, frame.len);
    mu_buf_fini(&frame);
}

static void test_order_too_long(void **state)
{
    (void)state;
    struct mu_buf frame = {0};
    struct mu_err err = MU_ERR_INIT;
    mu_autofree char *huge = mu_alloc(LAUNCH_ORDER_MAX + 1);
    memset(huge, 'x', LAUNCH_ORDER_MAX);
    char *args[] = {huge, NULL};
    char *none[] = {NULL};
    struct launch_order order = {.directory = (char *)(uintptr_t) "/", .args = args, .env = none};
    assert_int_equal(launch_order_encode(&order, &frame, &err), -1);
    assert_int_equal(err.code, MU_E_LIMIT);
    assert_int_equal(frame.len, 0);
}

/* ---- launch_explain ---- */

static void assert_explained(int exit_status, int signo, const char *said, const char *expected)
{
    const struct launch_end end = {.host = "node1",
                                   .ssh = "ssh",
                                   .muster = "/opt/muster",
                                   .exit_status = exit_status,
                                   .signo = signo,
                                   .said = mu_slice_of(said)};
    mu_autofree char *text = launch_explain(&end);
    assert_string_equal(text, expected);
}

static void test_explain(void **state)
{
    (void)state;
    assert_explained(255, 0,
                     "Warning: x\nssh: connect to host node1 port 22: Connection refused\r\n",
                     "node1: ssh cannot log in (ssh: connect to host node1 port 22: Connection "
                     "refused): no ssh server listens there; another port: --ssh-command 'ssh -p "
                     "PORT'");
    assert_explained(
        255, 0, "No ED25519 host key is known for node1.\nHost key verification failed.\n",
        "node1: ssh cannot log in (Host key verification failed.): its key is not known "
        "here, or another one: run `ssh node1` once and accept it");
    assert_explained(255, 0, "something\x1b[31m new\x1b[0m\nand its\tend\n\n",
                     "node1: ssh cannot log in (and its end)");
    assert_explained(255, 0, "", "node1: ssh cannot log in");
    assert_explained(127, 0, "sh: 1: exec: /opt/muster: not found\n",
                     "node1: there is no /opt/muster; muster must have the same path on every host "
                     "(sh: 1: exec: /opt/muster: not found)");
    assert_explained(1, 0, "/opt/muster: Command not found.\n",
                     "node1: there is no /opt/muster; muster must have the same path on every host "
                     "(/opt/muster: Command not found.)");
    assert_explained(127, 0, "fish: Unknown command: /opt/muster\nexec /opt/muster x\n     ^~~\n",
                     "node1: there is no /opt/muster; muster must have the same path on every host "
                     "(fish: Unknown command: /opt/muster)");
    assert_explained(126, 0, "", "node1: /opt/muster cannot be executed");
    assert_explained(1, 0, "This account is not available.",
                     "node1: the login shell ended with exit status 1 before muster ran (This "
                     "account is not available.)");
    assert_explained(0, 9, "", "node1: ssh was ended by signal 9 (Killed) before muster ran there");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_order_round_trip),
        cmocka_unit_test(test_order_that_is_none),
        cmocka_unit_test(test_order_too_long),
        cmocka_unit_test(test_explain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
