/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/launch_plan.h"

#include "launcher/launch_order.h"
#include "launcher/options_check.h"
#include "launcher/options_parse.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_WORDS = 32 };

/* A command line with a host file, up to its plan. */
struct rig {
    char path[64];
    char *argv[MAX_WORDS];
    int argc;
    struct options opts;
    struct sched *sched;
    struct launch_plan *plan;
    struct mu_err err;
};

static void write_hosts(struct rig *r, const char *text)
{
    snprintf(r->path, sizeof(r->path), "/tmp/muster-test-hosts-XXXXXX");
    int fd = mkstemp(r->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static int make_plan(struct rig *r, const char *hosts, const char *const *words, char *const *envp)
{
    *r = (struct rig){.argc = 0};
    write_hosts(r, hosts);
    const char *first[] = {"run", "--launch", "ssh", "--hostfile", r->path};
    for (size_t i = 0; i < MU_COUNT(first); i++) {
        r->argv[r->argc++] = (char *)(uintptr_t)first[i];
    }
    for (; *words != NULL; words++) {
        assert_true(r->argc < MAX_WORDS - 1);
        r->argv[r->argc++] = (char *)(uintptr_t)*words;
    }
    assert_int_equal(options_parse(&r->opts, OPTIONS_RUN, r->argc, r->argv, envp, &r->err), 0);
    struct host_view host = host_view_of(envp);
    struct sched_wish wish = {
        .scheduler = "auto", .hostfile = r->opts.hostfile, .is_outside = true};
    if (!r->opts.standalone) {
        assert_int_equal(sched_read(&host, &wish, &r->sched, &r->err), 0);
    }
    r->opts.sched = r->sched;
    if (options_check(&r->opts, &r->err) != 0) {
        return -1;
    }
    const struct launch_spec spec = {.opts = &r->opts,
                                     .argc = r->argc,
                                     .argv = r->argv,
                                     .envp = envp,
                                     .program = "/opt/my tools/muster",
                                     .directory = "/work dir"};
    r->plan = launch_plan_new(&spec, &r->err);
    return r->plan != NULL ? 0 : -1;
}

static void fini(struct rig *r)
{
    launch_plan_free(r->plan);
    sched_free(r->sched);
    unlink(r->path);
}

static char *no_env[] = {NULL};

/* What host `i` is told, words and then variables, each with '|' behind it; from word `from` on. */
static char *order_of(const struct rig *r, size_t i, size_t from)
{
    struct mu_buf frame = {0};
    struct mu_buf out = {0};
    struct launch_order order;
    assert_int_equal(launch_plan_order(r->plan, i, &frame, NULL), 0);
    assert_int_equal(launch_order_decode(frame.data + LAUNCH_ORDER_HEADER,
                                         frame.len - LAUNCH_ORDER_HEADER, &order, NULL),
                     0);
    assert_string_equal(order.directory, "/work dir");
    for (size_t k = from; k < order.arg_count; k++) {
        mu_buf_printf(&out, "%s|", order.args[k]);
    }
    mu_buf_printf(&out, " ");
    for (char **entry = order.env; *entry != NULL; entry++) {
        mu_buf_printf(&out, "%s|", *entry);
    }
    launch_order_fini(&order);
    mu_buf_fini(&frame);
    return mu_buf_take_text(&out);
}

#define PLAN(r, hosts, env, ...) make_plan(r, hosts, (const char *const[]){__VA_ARGS__, NULL}, env)

static void test_orders(void **state)
{
    (void)state;
    struct rig r;
    assert_int_equal(PLAN(&r, "a slots=8\nada@b slots=4\nc\n", no_env, "--rdzv-id", "j", "train.py",
                          "--lr", "1"),
                     0);
    mu_autofree char *first = order_of(&r, 0, 5);
    assert_string_equal(first, "--rdzv-id|j|--launch=none|--scheduler=none|--rdzv-endpoint=a:29500|"
                               "--rdzv-id=j|--node-rank=0|--nnodes=3|--nproc-per-node=8|"
                               "--node-name=a|--|train.py|--lr|1| ");
    mu_autofree char *third = order_of(&r, 2, 7);
    assert_string_equal(third, "--launch=none|--scheduler=none|--rdzv-endpoint=a:29500|--rdzv-id=j|"
                               "--node-rank=2|--nnodes=3|--node-name=c|--|train.py|--lr|1| ");
    fini(&r);
}

static void test_options_win(void **state)
{
    (void)state;
    struct rig r;
    assert_int_equal(PLAN(&r, "a slots=8\nb slots=4\n", no_env, "--nproc-per-node=2", "--nnodes",
                          "1:2", "--master-port", "7", "--rdzv-id=j", "--rdzv-endpoint", "x:1",
                          "-m", "--", "-x"),
                     0);
    mu_autofree char *second = order_of(&r, 1, 13);
    assert_string_equal(second, "-m|--launch=none|--scheduler=none|--rdzv-endpoint=x:1|--rdzv-id=j|"
                                "--node-rank=1|--node-name=b|--|-x| ");
    fini(&r);
    assert_int_equal(PLAN(&r, "a\nb\nc\n", no_env, "--spares=1", "x"), 0);
    mu_autofree char *spare = order_of(&r, 2, 10);
    assert_string_equal(spare, "--node-rank=2|--nnodes=2|--node-name=c|--|x| ");
    fini(&r);
    /* Without an id the job gets one of its own. */
    assert_int_equal(PLAN(&r, "a\nb\n", no_env, "x"), 0);
    assert_int_equal(strlen(r.opts.rdzv_id), 36);
    fini(&r);
}

static void test_one_host_needs_no_endpoint(void **state)
{
    (void)state;
    struct rig r;
    assert_int_equal(PLAN(&r, "a slots=2\n", no_env, "x"), 0);
    mu_autofree char *order = order_of(&r, 0, 5);
    assert_string_equal(order, "--launch=none|--scheduler=none|--nnodes=1|--nproc-per-node=2|"
                               "--node-name=a|--|x| ");
    fini(&r);
}

static void test_environment(void **state)
{
    (void)state;
    struct rig r;
    const char *env[] = {"HOME=/h",
                         "MUSTER_GRACE=5s",
                         "PET_MAX_RESTARTS=1",
                         "MUSTER_LAUNCH=ssh",
                         "MUSTER_HOSTFILE=/x",
                         "MUSTER_EXPORT=HOME",
                         "MUSTER_SSH_COMMAND=x",
                         "A=1 2",
                         "MUSTERED=no",
                         NULL};
    assert_int_equal(PLAN(&r, "a\n", (char *const *)(uintptr_t)env, "--export", "A, B=c d ,HOME",
                          "--ssh-command", "ssh", "x"),
                     0);
    mu_autofree char *order = order_of(&r, 0, 14);
    assert_string_equal(order, "x| MUSTER_GRACE=5s|PET_MAX_RESTARTS=1|A=1 2|B=c d|HOME=/h|");
    fini(&r);
}

static void test_commands(void **state)
{
    (void)state;
    struct rig r;
    assert_int_equal(PLAN(&r, "a\nada@b\n", no_env, "--ssh-command", "/usr/bin/ssh -p 2222", "x"),
                     0);
    char **words = launch_plan_command(r.plan, 1);
    const char *expected[] = {"/usr/bin/ssh",
                              "-p",
                              "2222",
                              "-T",
                              "-x",
                              "-o",
                              "BatchMode=yes",
                              "-o",
                              "ConnectTimeout=8",
                              "-o",
                              "ServerAliveInterval=5",
                              "-o",
                              "ServerAliveCountMax=3",
                              "ada@b",
                              "exec '/opt/my tools/muster' launched"};
    for (size_t i = 0; i < MU_COUNT(expected); i++) {
        assert_string_equal(words[i], expected[i]);
    }
    assert_null(words[MU_COUNT(expected)]);
    free(words);
    fini(&r);
    /* What is not OpenSSH's knows none of its options. */
    assert_int_equal(PLAN(&r, "a\nb\n", no_env, "--ssh-command", "blaunch", "x"), 0);
    words = launch_plan_command(r.plan, 0);
    assert_string_equal(words[0], "blaunch");
    assert_string_equal(words[1], "a");
    assert_non_null(words[2]);
    assert_null(words[3]);
    free(words);
    fini(&r);
}

static void assert_refused(const char *hosts, const char *const *words, const char *expected)
{
    struct rig r;
    assert_int_equal(make_plan(&r, hosts, words, no_env), -1);
    assert_int_equal(r.err.code, MU_E_USAGE);
    assert_non_null(strstr(r.err.text, expected));
    fini(&r);
}
#define REFUSED(hosts, expected, ...) \
    assert_refused(hosts, (const char *const[]){__VA_ARGS__, NULL}, expected)

static void test_refused(void **state)
{
    (void)state;
    REFUSED("a\nb\n", "has 2 hosts, but --nnodes 3 was given", "--nnodes", "3", "x");
    REFUSED("a\nb\n", "has 2 hosts, but --nnodes 3:4 --spares 1 was given", "--nnodes", "3:4",
            "--spares", "1", "x");
    REFUSED("a\n", "--spares 1 leaves no node to work: the job has 1", "--spares", "1", "x");
    REFUSED("a\n", "--standalone is for one node", "--standalone", "x");
    REFUSED("a\n", "--ssh-command: 'ssh \"' has a quote without its end", "--ssh-command", "ssh \"",
            "x");
    REFUSED("a\n", "--export: NOPE is not set here; set it, or give NOPE=VALUE", "--export", "NOPE",
            "x");
    REFUSED("a\n", "--export: '=x' has no name", "--export", "=x", "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),      cmocka_unit_test(test_options_win),
        cmocka_unit_test(test_environment), cmocka_unit_test(test_one_host_needs_no_endpoint),
        cmocka_unit_test(test_commands),    cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
