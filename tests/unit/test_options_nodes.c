/* SPDX-License-Identifier: Apache-2.0 */
/* How many nodes a job has: `--nnodes` and `--spares` together. */
#include "launcher/options_check.h"
#include "launcher/options_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct options o;
static struct mu_err err;

/* Parses and checks the words of a command line, which end in a script; its exit status. */
static int run(const char *words)
{
    static char text[256];
    char *argv[16] = {text};
    char *envp[] = {NULL};
    int argc = 0;
    snprintf(text, sizeof(text), "run %s t.py", words);
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    err = (struct mu_err)MU_ERR_INIT;
    if (options_parse(&o, OPTIONS_RUN, argc, argv, envp, &err) != 0 ||
        options_check(&o, &err) != 0) {
        return mu_err_exit_status(&err);
    }
    return 0;
}

static void refused(const char *words, const char *why)
{
    assert_int_equal(run(words), 2);
    assert_string_equal(err.text, why);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(run("--nnodes=2 --rdzv-endpoint=n1"), 0);
    assert_int_equal(o.spares, 0);
    assert_string_equal(o.scale_up, "now");
}

static void test_node_rank_of_a_spare(void **state)
{
    (void)state;
    assert_int_equal(run("--nnodes=2 --spares=2 --node-rank=3 --rdzv-endpoint=n1"), 0);
    assert_int_equal(o.spares, 2);
    assert_int_equal(o.node_rank, 3);
    refused("--nnodes=2 --spares=2 --node-rank=4 --rdzv-endpoint=n1",
            "--node-rank 4 is too large: ranks count from 0, and --nnodes and --spares allow 4");
}

/* A spare of a job on one node has to find it. */
static void test_one_node_and_a_spare(void **state)
{
    (void)state;
    assert_int_equal(run("--spares=1 --rdzv-endpoint=n1"), 0);
    assert_false(o.rendezvous.is_standalone);
    refused("--spares=1",
            "a job of more than one node needs to know where the coordinator is: give "
            "--rdzv-endpoint HOST:PORT, the same on every node");
    refused("--standalone --spares=1",
            "--standalone is for one node, but --spares asks for 1 more; give --rdzv-endpoint "
            "HOST:PORT instead, the same on every node");
    refused("--spares=1 --rdzv-endpoint=n1:0",
            "port 0, any free one, is for one node; 2 nodes must know the port");
}

static void test_scale_up(void **state)
{
    (void)state;
    assert_int_equal(run("--scale-up=next-restart"), 0);
    assert_string_equal(o.scale_up, "next-restart");
    refused("--scale-up=soon", "--scale-up: 'soon' is none of now, next-restart or never");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_node_rank_of_a_spare),
        cmocka_unit_test(test_one_node_and_a_spare),
        cmocka_unit_test(test_scale_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
