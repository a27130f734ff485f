/* SPDX-License-Identifier: Apache-2.0 */
/* The environments are those of Slurm 22.05, as far as anything of them is looked at. */
#include "launcher/sched.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* srun --nodes=3 --ntasks-per-node=1 --gpus-per-node=8, task 1 */
#define STEP                                  \
    "CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7\n"  \
    "HOSTNAME=osk-gpu54\n"                    \
    "SLURMD_NODENAME=osk-gpu56\n"             \
    "SLURM_GPUS_ON_NODE=8\n"                  \
    "SLURM_JOB_ID=17\n"                       \
    "SLURM_JOB_NODELIST=osk-gpu[54,56,91]\n"  \
    "SLURM_JOB_NUM_NODES=3\n"                 \
    "SLURM_LAUNCH_NODE_IPADDR=10.77.0.254\n"  \
    "SLURM_LOCALID=0\n"                       \
    "SLURM_NNODES=3\n"                        \
    "SLURM_NODEID=1\n"                        \
    "SLURM_NTASKS_PER_NODE=1\n"               \
    "SLURM_PROCID=1\n"                        \
    "SLURM_STEP_GPUS=0,1,2,3,4,5,6,7\n"       \
    "SLURM_STEP_ID=0\n"                       \
    "SLURM_STEP_NODELIST=osk-gpu[54,56,91]\n" \
    "SLURM_STEP_NUM_NODES=3\n"                \
    "SLURM_STEP_NUM_TASKS=3\n"                \
    "SLURM_STEP_TASKS_PER_NODE=1(x3)\n"

/* sbatch --nodes=3 --ntasks-per-node=1 --gpus-per-node=8, the script itself */
#define BATCH                                \
    "CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7\n" \
    "ENVIRONMENT=BATCH\n"                    \
    "HOSTNAME=osk-gpu54\n"                   \
    "SLURMD_NODENAME=osk-gpu54\n"            \
    "SLURM_GPUS_ON_NODE=8\n"                 \
    "SLURM_JOB_GPUS=0,1,2,3,4,5,6,7\n"       \
    "SLURM_JOB_ID=4\n"                       \
    "SLURM_JOB_NODELIST=osk-gpu[54,56,91]\n" \
    "SLURM_JOB_NUM_NODES=3\n"                \
    "SLURM_LOCALID=0\n"                      \
    "SLURM_NNODES=3\n"                       \
    "SLURM_NODEID=0\n"                       \
    "SLURM_NODE_ALIASES=(null)\n"            \
    "SLURM_PROCID=0\n"

/* salloc --nodes=3, the command it runs */
#define SHELL                                \
    "SLURM_GPUS_PER_NODE=8\n"                \
    "SLURM_JOB_ID=6\n"                       \
    "SLURM_JOB_NODELIST=osk-gpu[54,56,91]\n" \
    "SLURM_JOB_NUM_NODES=3\n"                \
    "SLURM_NNODES=3\n"                       \
    "SLURM_NODE_ALIASES=(null)\n"

enum { MAX_ENV = 64 };

static struct sched *s;
static struct mu_err err;

/* Reads an environment: lines, where the first of a name counts. */
static int read_with(const char *scheduler, const char *lines)
{
    char *envp[MAX_ENV] = {NULL};
    size_t count = 0;
    mu_autofree char *copy = mu_strdup(lines);
    char *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        assert_true(count < MAX_ENV - 1);
        envp[count++] = line;
    }
    struct host_view host = {.root = "/nonexistent", .envp = envp};
    struct sched_wish wish = {.scheduler = scheduler};
    sched_free(s);
    s = NULL;
    err = (struct mu_err)MU_ERR_INIT;
    return sched_read(&host, &wish, &s, &err);
}

static void reads(const char *lines)
{
    assert_int_equal(read_with("auto", lines), 0);
    assert_non_null(s);
    assert_int_equal(s->kind, SCHED_SLURM);
}

static void contradicts(const char *lines, const char *why)
{
    assert_int_equal(read_with("auto", lines), -1);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_non_null(strstr(err.text, why));
}

static void refuses(const char *lines, const char *why)
{
    reads(lines);
    assert_non_null(strstr(s->refusal, why));
}

static int fini(void **state)
{
    (void)state;
    sched_free(s);
    s = NULL;
    return 0;
}

static void test_nothing_of_slurm(void **state)
{
    (void)state;
    assert_int_equal(read_with("auto", "HOME=/root\nSLURM_CONF=/etc/slurm.conf\n"), 0);
    assert_null(s);
    assert_int_equal(read_with("none", STEP), 0);
    assert_null(s);
    assert_int_equal(read_with("slurm", "HOME=/root\n"), -1);
}

/* `muster run` in a training script is no task of srun's. */
static void test_started_by_a_worker(void **state)
{
    (void)state;
    assert_int_equal(read_with("auto", "TORCHELASTIC_RUN_ID=17.0\n" STEP), 0);
    assert_null(s);
    assert_int_equal(read_with("slurm", "TORCHELASTIC_RUN_ID=17.0\n" STEP), 0);
    assert_non_null(s);
}

static void test_task_of_a_step(void **state)
{
    (void)state;
    reads(STEP);
    assert_false(s->is_alone);
    assert_true(s->is_echo);
    assert_string_equal(s->refusal, "");
    assert_string_equal(s->run_id, "17.0");
    assert_string_equal(s->job_id, "17");
    assert_int_equal(s->node_count, 3);
    assert_int_equal(s->hosts.count, 3);
    assert_int_equal(s->node_index, 1);
    assert_string_equal(s->node_name, "osk-gpu56");
    assert_int_equal(s->gpus, 8);
    assert_int_equal(s->kill_wait_ms, 30000);
    assert_int_equal(s->port_count, SCHED_PORTS);
    assert_int_equal(s->place_count, 2);
    assert_string_equal(s->places[0], "osk-gpu54");
    assert_string_equal(s->places[1], "10.77.0.254");
}

static void test_task_0_speaks(void **state)
{
    (void)state;
    reads("SLURM_PROCID=0\nSLURM_NODEID=0\nSLURMD_NODENAME=osk-gpu54\n" STEP);
    assert_false(s->is_echo);
    assert_int_equal(s->node_index, 0);
}

/* In a container that hides the name of the node its number tells. */
static void test_without_the_name(void **state)
{
    (void)state;
    reads("SLURMD_NODENAME=\n" STEP);
    assert_string_equal(s->node_name, "osk-gpu56");
    assert_int_equal(s->node_index, 1);
}

static void test_gpus(void **state)
{
    (void)state;
    reads("CUDA_VISIBLE_DEVICES=0,1\n" STEP);
    assert_int_equal(s->gpus, 2);
    reads("CUDA_VISIBLE_DEVICES=\n" STEP);
    assert_int_equal(s->gpus, 0);
    reads(SHELL);
    assert_int_equal(s->gpus, 0);
}

static void test_requeued(void **state)
{
    (void)state;
    uint16_t first = 0;
    reads(STEP);
    first = s->ports[0];
    reads("SLURM_RESTART_COUNT=2\n" STEP);
    assert_string_equal(s->run_id, "17.0.r2");
    assert_string_equal(s->job_id, "17");
    assert_int_equal(s->restart_count, 2);
    assert_int_not_equal(s->ports[0], first);
}

/* The last task of an array has the array's own number for its job. */
static void test_array(void **state)
{
    (void)state;
    reads("SLURM_ARRAY_JOB_ID=17\nSLURM_ARRAY_TASK_ID=6\n" STEP);
    assert_string_equal(s->job_id, "17_6");
    assert_string_equal(s->run_id, "17_6.0");
}

static void test_overlapping_steps(void **state)
{
    (void)state;
    reads("SLURM_STEP_ID=3\n" STEP);
    assert_string_equal(s->run_id, "17.3");
}

/* srun -w osk-gpu91 A : -w osk-gpu[54,56] B: ids follow the components, the list is sorted. */
static void test_heterogeneous_step(void **state)
{
    (void)state;
    reads("SLURM_HET_SIZE=2\nSLURM_NODEID=0\nSLURM_PROCID=0\nSLURMD_NODENAME=osk-gpu91\n" STEP);
    assert_int_equal(s->node_index, 2);
    assert_string_equal(s->places[0], "osk-gpu54");
    reads("SLURM_HET_SIZE=2\nSLURM_NODEID=1\nSLURMD_NODENAME=osk-gpu54\n" STEP);
    assert_int_equal(s->node_index, 0);
}

static void test_several_tasks_on_a_node(void **state)
{
    (void)state;
    static const char *const texts[] = {"2(x3)", "2,1(x2)", "1(x2),2"};
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        mu_autofree char *lines = mu_asprintf("SLURM_STEP_TASKS_PER_NODE=%s\n" STEP, texts[i]);
        refuses(lines, "srun started muster 2 times on a node");
    }
    refuses("SLURM_STEP_TASKS_PER_NODE=128(x3)\n" STEP, "128 times on a node");
    refuses("SLURM_STEP_TASKS_PER_NODE=\nSLURM_LOCALID=3\n" STEP, "4 times on a node");
    /* What sbatch was told does not count if srun was told otherwise. */
    reads("SLURM_NTASKS_PER_NODE=8\n" STEP);
    assert_string_equal(s->refusal, "");
}

static void test_numbers_and_list_disagree(void **state)
{
    (void)state;
    refuses("SLURM_STEP_NUM_NODES=4\n" STEP,
            "SLURM_STEP_NUM_NODES says 4 nodes, but SLURM_STEP_NODELIST names 3");
    refuses("SLURM_NNODES=1\n" STEP, "SLURM_NNODES says 1 node, but SLURM_STEP_NODELIST names 3");
}

static void test_another_node(void **state)
{
    (void)state;
    contradicts("SLURMD_NODENAME=login\n" STEP,
                "this is 'login', which is not among the nodes of the step");
    contradicts("SLURM_NODEID=2\n" STEP, "osk-gpu56 is node 2 of the step, but in "
                                         "SLURM_STEP_NODELIST='osk-gpu[54,56,91]' it is node 1");
    contradicts("SLURM_NODEID=\nSLURMD_NODENAME=\n" STEP,
                "neither SLURMD_NODENAME nor SLURM_NODEID says which of them this is");
    contradicts("SLURM_STEP_NODELIST=osk-gpu[54\n" STEP, "SLURM_STEP_NODELIST: ");
}

static void test_addresses_of_a_cloud(void **state)
{
    (void)state;
    reads("SLURM_NODE_ALIASES=osk-gpu56:[10.0.0.2]:h2,osk-gpu54:[fd00::1]:h1\n" STEP);
    assert_string_equal(s->places[0], "fd00::1");
    assert_string_equal(s->places[1], "osk-gpu54");
    reads("SLURM_NODE_ALIASES=osk-gpu54:10.0.0.1:h1\n" STEP);
    assert_string_equal(s->places[0], "10.0.0.1");
    static const char *const none[] = {
        "(null)", "TBD", "osk-gpu5:[10.0.0.9]:h", "osk-gpu54", "osk-gpu54:", "osk-gpu54:[", ",,,"};
    for (size_t i = 0; i < MU_COUNT(none); i++) {
        mu_autofree char *lines = mu_asprintf("SLURM_NODE_ALIASES=%s\n" STEP, none[i]);
        reads(lines);
        assert_string_equal(s->places[0], "osk-gpu54");
    }
}

static void test_not_started_by_srun(void **state)
{
    (void)state;
    reads(BATCH);
    assert_true(s->is_alone);
    assert_false(s->is_echo);
    assert_int_equal(s->node_count, 3);
    assert_int_equal(s->node_index, -1);
    assert_int_equal(s->gpus, 8);
    assert_int_equal(s->place_count, 0);
    assert_string_equal(s->run_id, "");
    assert_string_equal(s->node_name, "osk-gpu54");
    reads(SHELL);
    assert_true(s->is_alone);
    assert_int_equal(s->node_count, 3);
    assert_string_equal(s->node_name, "");
}

/* LaunchParameters=use_interactive_step: salloc's shell is in a step, on the first node. */
static void test_interactive_step(void **state)
{
    (void)state;
    reads("SLURM_STEP_ID=4294967290\nSLURM_STEP_NODELIST=osk-gpu54\nSLURM_STEP_NUM_NODES=1\n"
          "SLURMD_NODENAME=osk-gpu54\nSLURM_NODEID=0\n" SHELL);
    assert_true(s->is_alone);
    assert_int_equal(s->node_count, 3);
    reads("SLURM_STEP_ID=-6\nSLURM_STEP_NODELIST=osk-gpu54\n" SHELL);
    assert_true(s->is_alone);
}

/* sbatch in a task hands the variables of its step on. */
static void test_variables_of_another_step(void **state)
{
    (void)state;
    reads("SLURM_STEP_ID=0\nSLURM_STEP_NODELIST=osk-gpu56\nSLURM_STEP_NUM_NODES=1\n" BATCH);
    assert_true(s->is_alone);
    refuses("SLURM_STEP_ID=0\nSLURM_STEP_NODELIST=osk-gpu54\nSLURM_STEP_NUM_NODES=1\n" BATCH,
            "SLURM_NNODES says 3 nodes, but SLURM_STEP_NODELIST names 1; if this is a batch script "
            "or a shell, put srun in front of muster");
}

static void test_components_without_srun(void **state)
{
    (void)state;
    reads("SLURM_HET_SIZE=2\nSLURM_JOB_ID=1\nSLURM_JOB_NODELIST_HET_GROUP_0=n1\n");
    assert_true(s->is_alone);
    assert_int_equal(s->node_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_of_slurm),
        cmocka_unit_test(test_started_by_a_worker),
        cmocka_unit_test(test_task_of_a_step),
        cmocka_unit_test(test_task_0_speaks),
        cmocka_unit_test(test_without_the_name),
        cmocka_unit_test(test_gpus),
        cmocka_unit_test(test_requeued),
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_overlapping_steps),
        cmocka_unit_test(test_heterogeneous_step),
        cmocka_unit_test(test_several_tasks_on_a_node),
        cmocka_unit_test(test_numbers_and_list_disagree),
        cmocka_unit_test(test_another_node),
        cmocka_unit_test(test_addresses_of_a_cloud),
        cmocka_unit_test(test_not_started_by_srun),
        cmocka_unit_test(test_interactive_step),
        cmocka_unit_test(test_variables_of_another_step),
        cmocka_unit_test(test_components_without_srun),
    };
    return cmocka_run_group_tests_name("sched_slurm", tests, NULL, fini);
}
