/* SPDX-License-Identifier: Apache-2.0 */
/* What the options and the word of a scheduler make together. */
#include "launcher/sched_check.h"

#include "launcher/options_check.h"
#include "launcher/options_parse.h"
#include "launcher/options_show.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct options o;
static struct mu_err err;
static struct sched s;

/* Task 1 of a step on `nodes` nodes. */
static void started_on(uint32_t nodes)
{
    s = (struct sched){.kind = SCHED_SLURM,
                       .name = "Slurm",
                       .run_id = "17.0",
                       .job_id = "17",
                       .node_count = nodes,
                       .node_index = 1,
                       .node_name = "osk-gpu56",
                       .places = {"osk-gpu54", "10.0.0.1"},
                       .place_count = 2,
                       .ports = {20001, 20002},
                       .port_count = 2,
                       .kill_wait_ms = 30000,
                       .is_echo = true};
}

/* A batch script or a shell in a job of `nodes` nodes. */
static void alone_in(uint32_t nodes)
{
    s = (struct sched){.kind = SCHED_SLURM,
                       .name = "Slurm",
                       .job_id = "17",
                       .node_count = nodes,
                       .node_index = -1,
                       .is_alone = true,
                       .kill_wait_ms = 30000};
}

/* Parses and checks the words of a command line; its exit status. */
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
    if (options_parse(&o, OPTIONS_RUN, argc, argv, envp, &err) != 0) {
        return mu_err_exit_status(&err);
    }
    o.sched = o.standalone ? NULL : &s;
    return options_check(&o, &err) == 0 ? 0 : mu_err_exit_status(&err);
}

/* `is_shared`: another task says it. */
static void refused(const char *words, bool is_shared, const char *why)
{
    assert_int_equal(run(words), 2);
    if (strstr(err.text, why) == NULL) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(o.is_echo, is_shared);
}

static void remarks(const char *text)
{
    struct mu_buf lines = {0};
    sched_check_remarks(&o, &lines);
    mu_buf_append_u8(&lines, '\0');
    assert_non_null(strstr((const char *)lines.data, text));
    assert_true(text[0] != '\0' || lines.len == 1);
    mu_buf_fini(&lines);
}

static void test_all_from_slurm(void **state)
{
    (void)state;
    started_on(3);
    s.gpus = 8;
    assert_int_equal(run(""), 0);
    assert_int_equal(o.nnodes.min, 3);
    assert_int_equal(o.nnodes.max, 3);
    assert_int_equal(o.nproc_per_node, 8);
    assert_string_equal(o.rdzv_id, "17.0");
    assert_string_equal(o.node_name, "osk-gpu56");
    assert_string_equal(o.rendezvous.endpoint.host, "osk-gpu54");
    assert_int_equal(o.rendezvous.endpoint.port, 20001);
    assert_true(o.rendezvous.is_elsewhere);
    remarks("");
}

static void test_options_win(void **state)
{
    (void)state;
    started_on(3);
    s.gpus = 8;
    assert_int_equal(run("--rdzv-id=mine --node-name=n1 --nproc-per-node=4 --grace=3s "
                         "--rdzv-endpoint=host:1"),
                     0);
    assert_string_equal(o.rdzv_id, "mine");
    assert_string_equal(o.node_name, "n1");
    assert_int_equal(o.nproc_per_node, 4);
    assert_int_equal(o.grace_ms, 3000);
    assert_string_equal(o.rendezvous.endpoint.host, "host");
    assert_null(o.rendezvous.ladder);
}

static void test_one_node(void **state)
{
    (void)state;
    started_on(1);
    s.node_index = 0;
    assert_int_equal(run(""), 0);
    assert_true(o.rendezvous.is_standalone);
    assert_string_equal(o.rdzv_id, "17.0");
}

static void test_other_number_of_nodes(void **state)
{
    (void)state;
    started_on(3);
    assert_int_equal(run("--nnodes=3"), 0);
    assert_int_equal(run("--nnodes=2:4"), 0);
    assert_int_equal(run("--nnodes=1:3"), 0);
    assert_int_equal(run("--nnodes=2 --spares=1"), 0);
    refused("--nnodes=4", true, "Slurm started muster on 3 nodes, but --nnodes 4 was given; ");
    refused("--nnodes=2", true, "--nnodes 2 was given");
    refused("--nnodes=1", true, "--standalone for a job of each node's own");
    refused("--nnodes=4:5", true, "--nnodes 4:5 was given");
    refused("--nnodes=1:2", true, "--nnodes 1:2 was given");
    refused("--nnodes=1 --spares=1", true, "--nnodes 1 --spares 1 was given");
    s.is_echo = false;
    refused("--nnodes=4", false, "--nnodes 4 was given");
    started_on(1);
    refused("--nnodes=2", true, "Slurm started muster on 1 node, but --nnodes 2 was given");
    assert_int_equal(run("--standalone"), 0);
}

static void test_spares_are_of_the_nodes(void **state)
{
    (void)state;
    started_on(3);
    assert_int_equal(run("--spares=1"), 0);
    assert_int_equal(o.nnodes.min, 2);
    assert_int_equal(o.nnodes.max, 2);
    refused("--spares=3", true, "--spares 3 leaves no node to work");
}

/* No last call for nodes that nobody has. */
static void test_no_more_than_there_are(void **state)
{
    (void)state;
    started_on(3);
    assert_int_equal(run("--nnodes=2:8 --spares=1"), 0);
    assert_int_equal(o.nnodes.min, 2);
    assert_int_equal(o.nnodes.max, 3);
    assert_int_equal(o.spares, 0);
    assert_int_equal(run("--nnodes=2 --spares=4"), 0);
    assert_int_equal(o.nnodes.max, 2);
    assert_int_equal(o.spares, 1);
}

static void test_more_workers_than_gpus(void **state)
{
    (void)state;
    started_on(3);
    s.gpus = 4;
    assert_int_equal(run("--nproc-per-node=4"), 0);
    assert_int_equal(run("--nproc-per-node=gpu"), 0);
    assert_int_equal(o.nproc_per_node, OPTIONS_NPROC_GPU);
    assert_int_equal(run("--nproc-per-node=8 --oversubscribe"), 0);
    refused("--nproc-per-node=8", false,
            "--nproc-per-node 8 is more than the 4 GPUs that Slurm gave to osk-gpu56; ");
    s.gpus = 0;
    assert_int_equal(run("--nproc-per-node=8"), 0);
}

static void test_a_refusal_of_the_reader(void **state)
{
    (void)state;
    started_on(3);
    snprintf(s.refusal, sizeof(s.refusal), "too many tasks");
    refused("", true, "too many tasks");
    assert_int_equal(run("--standalone"), 0);
}

static void test_srun_is_missing(void **state)
{
    (void)state;
    alone_in(3);
    refused("", false, "Slurm gave 3 nodes to job 17, but srun is missing");
    refused("--nnodes=3", false, "srun is missing");
    assert_int_equal(run("--nnodes=1"), 0);
    assert_true(o.rendezvous.is_standalone);
    assert_int_equal(run("--nnodes=3 --rdzv-endpoint=n1"), 0);
    assert_int_equal(run("--nnodes=3 --master-addr=n1"), 0);
    assert_int_equal(run("--standalone"), 0);
}

static void test_one_node_without_srun(void **state)
{
    (void)state;
    alone_in(1);
    s.gpus = 2;
    snprintf(s.node_name, sizeof(s.node_name), "n1");
    assert_int_equal(run(""), 0);
    assert_true(o.rendezvous.is_standalone);
    assert_int_equal(o.nproc_per_node, 2);
    remarks("");
}

/* The shell of salloc on a login node. */
static void test_not_on_the_node(void **state)
{
    (void)state;
    alone_in(1);
    assert_int_equal(hostlist_parse("n1", &s.hosts, &err), 0);
    assert_int_equal(run(""), 0);
    remarks("Slurm gave n1 to job 17, but this process was not started there: running here; put "
            "srun in front of muster to run there\n");
    hostlist_fini(&s.hosts);
}

static void test_grace_fits_kill_wait(void **state)
{
    (void)state;
    static const struct {
        int64_t kill_wait_ms;
        int64_t grace_ms;
    } fits[] = {{30000, 25000}, {60000, 55000}, {10000, 5000},
                {8000, 4000},   {1000, 500},    {0, 30000}};
    started_on(3);
    for (size_t i = 0; i < MU_COUNT(fits); i++) {
        s.kill_wait_ms = fits[i].kill_wait_ms;
        assert_int_equal(run(""), 0);
        assert_int_equal(o.grace_ms, fits[i].grace_ms);
    }
}

static void test_grace_that_is_longer(void **state)
{
    (void)state;
    started_on(3);
    s.is_echo = false;
    assert_int_equal(run("--grace=60s"), 0);
    assert_int_equal(o.grace_ms, 60000);
    remarks("--grace is 60 s, but when Slurm ends the job, it kills everything 30 s after SIGTERM");
    assert_int_equal(run("--shutdown-timeout=60"), 0);
    assert_int_equal(o.grace_ms, 60000);
    remarks("--grace is 60 s");
    assert_int_equal(run("--grace=30s"), 0);
    remarks("");
    s.is_echo = true;
    assert_int_equal(run("--grace=60s"), 0);
    remarks("");
}

static void test_requeue(void **state)
{
    (void)state;
    struct signal_list list;
    started_on(3);
    assert_int_equal(run("--requeue-on=USR1,sigterm"), 0);
    sched_check_requeue_list(&o, &list);
    assert_int_equal(list.bits, UINT64_C(1) << 9 | UINT64_C(1) << 14);
    assert_int_equal(run(""), 0);
    sched_check_requeue_list(&o, &list);
    assert_int_equal(list.bits, 0);
    refused("--requeue-on=USR9", true, "--requeue-on: there is no signal 'USR9'");
    refused("--requeue-on=KILL", true, "--requeue-on: SIGKILL cannot end the job");
    refused("--requeue-on=,", true, "--requeue-on: ',' names no signal");
    refused("--standalone --requeue-on=USR1", false, "nothing says that this is a job of Slurm's");
    s.kind = SCHED_OPENMPI;
    refused("--requeue-on=USR1", true, "nothing says that this is a job of Slurm's");
}

static void test_origin_is_shown(void **state)
{
    (void)state;
    struct mu_buf text = {0};
    started_on(3);
    assert_int_equal(run(""), 0);
    options_show(&o, &text);
    mu_buf_append_u8(&text, '\0');
    assert_non_null(
        strstr((const char *)text.data, "nnodes: 3                                # Slurm\n"));
    assert_non_null(
        strstr((const char *)text.data, "grace: 25s                               # Slurm\n"));
    mu_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_from_slurm),
        cmocka_unit_test(test_options_win),
        cmocka_unit_test(test_one_node),
        cmocka_unit_test(test_other_number_of_nodes),
        cmocka_unit_test(test_spares_are_of_the_nodes),
        cmocka_unit_test(test_no_more_than_there_are),
        cmocka_unit_test(test_more_workers_than_gpus),
        cmocka_unit_test(test_a_refusal_of_the_reader),
        cmocka_unit_test(test_srun_is_missing),
        cmocka_unit_test(test_one_node_without_srun),
        cmocka_unit_test(test_not_on_the_node),
        cmocka_unit_test(test_grace_fits_kill_wait),
        cmocka_unit_test(test_grace_that_is_longer),
        cmocka_unit_test(test_requeue),
        cmocka_unit_test(test_origin_is_shown),
    };
    return cmocka_run_group_tests_name("sched_check", tests, NULL, NULL);
}
