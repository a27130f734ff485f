/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/sched.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { MAX_ENV = 16 };

/* What mpirun 4.1.4 gives rank 1 of 3 on three nodes, as far as it matters. */
static const char *const rank_1_of_3[] = {
    "OMPI_COMM_WORLD_RANK=1",
    "OMPI_COMM_WORLD_SIZE=3",
    "OMPI_COMM_WORLD_LOCAL_RANK=0",
    "OMPI_COMM_WORLD_LOCAL_SIZE=1",
    "OMPI_COMM_WORLD_NODE_RANK=0",
    "OMPI_MCA_ess_base_jobid=850591745",
    "OMPI_MCA_orte_precondition_transports=b614b51213cacb60-f887e002356057b1",
    "PMIX_NAMESPACE=850591745",
    "SLURM_JOB_ID=12", /* in an allocation of Slurm's */
    "SLURM_STEP_ID=0",
    "SLURM_STEP_NODELIST=node1",
    "SLURM_NODEID=0",
};

/* The real ones, with one of them in another way: "NAME=value", or "NAME" for not set. */
static struct sched *read_with(const char *changed, struct mu_err *err)
{
    char *envp[MAX_ENV + 1] = {NULL};
    size_t n = 0;
    size_t name_len = strcspn(changed, "=");
    for (size_t i = 0; i < MU_COUNT(rank_1_of_3); i++) {
        const char *entry = rank_1_of_3[i];
        if (name_len == 0 || strncmp(entry, changed, name_len) != 0 || entry[name_len] != '=') {
            envp[n++] = (char *)(uintptr_t)entry;
        }
    }
    if (changed[name_len] == '=') {
        envp[n++] = (char *)(uintptr_t)changed;
    }
    struct host_view host = {.root = "/nowhere", .envp = envp};
    struct sched_wish wish = {.scheduler = "auto"};
    struct sched *s = NULL;
    mu_err_clear(err);
    int rc = sched_read(&host, &wish, &s, err);
    assert_int_equal(rc, err->code == MU_E_NONE ? 0 : -1);
    return s;
}

static void test_real_variables(void **state)
{
    (void)state;
    struct mu_err err;
    struct sched *s = read_with("", &err);
    assert_non_null(s);
    assert_int_equal(s->kind, SCHED_OPENMPI);
    assert_int_equal(s->node_index, 1);
    assert_true(s->is_echo); /* rank 0 says it */
    assert_int_equal(s->node_count, 3);
    assert_string_equal(s->run_id, "850591745-b614b51213cacb60");
    assert_int_equal(s->place_count, 0);
    assert_int_equal(s->port_count, SCHED_PORTS);
    assert_int_equal(s->kill_wait_ms, 0);
    sched_free(s);
}

/* The pid of mpirun is in the namespace, and comes again; the key does not. */
static void test_two_jobs_at_once_differ(void **state)
{
    (void)state;
    struct mu_err err;
    struct sched *one = read_with("", &err);
    struct sched *other =
        read_with("OMPI_MCA_orte_precondition_transports=9d9ef29dd5f3b42d-7625777eb3f076f6", &err);
    assert_string_not_equal(one->run_id, other->run_id);
    assert_int_not_equal(one->ports[0], other->ports[0]);
    sched_free(one);
    sched_free(other);
}

static void test_without_pmix_or_key(void **state)
{
    (void)state;
    struct mu_err err;
    struct sched *s = read_with("PMIX_NAMESPACE", &err);
    assert_int_equal(s->kind, SCHED_OPENMPI);
    sched_free(s);
    s = read_with("OMPI_MCA_orte_precondition_transports", &err);
    assert_string_equal(s->run_id, "850591745");
    sched_free(s);
    s = read_with("PMIX_NAMESPACE=prterun-node1-4711@1", &err);
    assert_string_equal(s->run_id, "prterun-node1-4711@1-b614b51213cacb60");
    sched_free(s);
}

static void test_time_to_stop(void **state)
{
    (void)state;
    struct mu_err err;
    struct sched *s = read_with("OMPI_MCA_odls_base_sigkill_timeout=30", &err);
    assert_int_equal(s->kill_wait_ms, 30000);
    sched_free(s);
}

static void test_several_on_a_node_are_refused(void **state)
{
    (void)state;
    struct mu_err err;
    struct sched *s = read_with("OMPI_COMM_WORLD_LOCAL_SIZE=2", &err);
    assert_non_null(s);
    assert_false(s->is_echo); /* the first of its node */
    assert_non_null(strstr(s->refusal, "2 processes on this node"));
    assert_non_null(strstr(s->refusal, "--map-by ppr:1:node"));
    sched_free(s);
}

static void test_nonsense_is_refused(void **state)
{
    (void)state;
    struct mu_err err;
    assert_null(read_with("OMPI_COMM_WORLD_RANK=3", &err));
    assert_int_equal(err.code, MU_E_USAGE);
    assert_null(read_with("OMPI_COMM_WORLD_SIZE=65537", &err));
    assert_int_equal(err.code, MU_E_USAGE);
}

/* Then it is for the next reader: Slurm's. */
static void test_not_of_mpirun(void **state)
{
    (void)state;
    static const char *const missing[] = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE=x",
                                          "OMPI_COMM_WORLD_LOCAL_SIZE"};
    for (size_t i = 0; i < MU_COUNT(missing); i++) {
        struct mu_err err = MU_ERR_INIT;
        struct sched *s = read_with(missing[i], &err);
        if (s == NULL) {
            fail_msg("%s: %s", missing[i], err.text);
        }
        assert_int_equal(s->kind, SCHED_SLURM);
        sched_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_variables),
        cmocka_unit_test(test_two_jobs_at_once_differ),
        cmocka_unit_test(test_without_pmix_or_key),
        cmocka_unit_test(test_time_to_stop),
        cmocka_unit_test(test_several_on_a_node_are_refused),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_not_of_mpirun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
