/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/worker_env.h"

#include "muster/env.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { MAX_WORDS = 8 };

/* Node 1 of 2, three workers before it; what a test does not care about. */
struct scene {
    struct options opts;
    struct assignment assignment;
    char *script_args[MAX_WORDS + 1];
    char *parent_env[MAX_WORDS + 1];
    struct worker_env_spec spec;
};

static void scene_init(struct scene *s, int64_t workers)
{
    memset(s, 0, sizeof(*s));
    options_init(&s->opts, OPTIONS_RUN);
    s->opts.nproc_per_node = workers;
    s->opts.script = "train.py";
    s->opts.script_args = s->script_args;
    s->opts.rdzv_id = "job7";
    s->opts.role = "tr";
    s->opts.max_restarts = 3;
    s->assignment = (struct assignment){
        .round = 4,
        .restart_count = 2,
        .node_rank = 1,
        .node_count = 2,
        .first_rank = 3,
        .world_size = 5,
        .role_first_rank = 1,
        .role_world_size = 3,
    };
    s->spec = (struct worker_env_spec){
        .opts = &s->opts,
        .assignment = &s->assignment,
        .master_addr = "node1",
        .master_port = 29500,
        .attempt_dir = "/logs/job7_x/attempt_2",
        .parent_env = s->parent_env,
        .program = "/usr/bin/python3",
    };
}

static void set_words(char **list, const char *const *words)
{
    size_t i = 0;
    for (; words[i] != NULL; i++) {
        assert_true(i < MAX_WORDS);
        list[i] = (char *)(uintptr_t)words[i];
    }
    list[i] = NULL;
}
#define WORDS(list, ...) set_words(list, (const char *const[]){__VA_ARGS__, NULL})

static size_t count_of(char *const *envp, const char *name)
{
    size_t n = 0;
    for (; *envp != NULL; envp++) {
        size_t len = strlen(name);
        n += strncmp(*envp, name, len) == 0 && (*envp)[len] == '=';
    }
    return n;
}

static void assert_env(char *const *envp, const char *const *expected)
{
    for (; *expected != NULL; expected++) {
        mu_autofree char *name = mu_strndup(*expected, strcspn(*expected, "="));
        const char *value = mu_env_get(envp, name);
        if (value == NULL) {
            fail_msg("%s is not set", name);
        }
        assert_string_equal(value, *expected + strlen(name) + 1);
        assert_int_equal(count_of(envp, name), 1);
    }
}

static void assert_argv(const struct worker_command *c, const char *const *expected)
{
    size_t i = 0;
    for (; expected[i] != NULL; i++) {
        assert_non_null(c->argv[i]);
        assert_string_equal(c->argv[i], expected[i]);
    }
    assert_null(c->argv[i]);
}
#define ASSERT_ARGV(c, ...) assert_argv(c, (const char *const[]){__VA_ARGS__, NULL})

/* The complete environment torchrun 2.13 gives, in an empty one of its own. */
static void test_everything_torchrun_sets(void **state)
{
    (void)state;
    static const char *const second[] = {
        "LOCAL_RANK=1",
        "RANK=4",
        "GROUP_RANK=1",
        "ROLE_RANK=2",
        "ROLE_NAME=tr",
        "LOCAL_WORLD_SIZE=2",
        "WORLD_SIZE=5",
        "GROUP_WORLD_SIZE=2",
        "ROLE_WORLD_SIZE=3",
        "MASTER_ADDR=node1",
        "MASTER_PORT=29500",
        "TORCHELASTIC_RESTART_COUNT=2",
        "TORCHELASTIC_MAX_RESTARTS=3",
        "TORCHELASTIC_RUN_ID=job7",
        "TORCHELASTIC_USE_AGENT_STORE=True",
        "TORCHELASTIC_ERROR_FILE=/logs/job7_x/attempt_2/1/error.json",
        "TORCHELASTIC_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING=1",
        "OMP_NUM_THREADS=1",
        NULL,
    };
    static const char *const first[] = {
        "LOCAL_RANK=0", "RANK=3",
        "ROLE_RANK=1",  "TORCHELASTIC_ERROR_FILE=/logs/job7_x/attempt_2/0/error.json",
        NULL,
    };
    struct scene s;
    scene_init(&s, 2);
    struct worker_env *we = worker_env_new(&s.spec);
    assert_int_equal(worker_env_count(we), 2);
    assert_env(worker_env_command(we, 0)->envp, first);
    char *const *envp = worker_env_command(we, 1)->envp;
    assert_env(envp, second);
    size_t n = 0;
    while (envp[n] != NULL) {
        n++;
    }
    assert_int_equal(n, MU_COUNT(second) - 1); /* and nothing else */
    assert_int_equal(worker_env_threads(we, 1), 1);
    worker_env_free(we);
}

static void test_parent_variables(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 2);
    WORDS(s.parent_env, "PATH=/bin", "RANK=77", "TORCH_NCCL_ASYNC_ERROR_HANDLING=0",
          "OMP_NUM_THREADS=3", "RANK=78", "RANKS=5", "TORCHELASTIC_ERROR_FILE=/outer", "ODD");
    static const char *const expected[] = {
        "PATH=/bin",
        "RANK=3",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING=0",
        "OMP_NUM_THREADS=3",
        "RANKS=5",
        "TORCHELASTIC_ERROR_FILE=/logs/job7_x/attempt_2/0/error.json",
        NULL,
    };
    struct worker_env *we = worker_env_new(&s.spec);
    assert_env(worker_env_command(we, 0)->envp, expected);
    assert_int_equal(worker_env_threads(we, 0), 0);
    worker_env_free(we);
}

static void test_one_worker_keeps_its_threads(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    struct worker_env *we = worker_env_new(&s.spec);
    assert_null(mu_env_get(worker_env_command(we, 0)->envp, "OMP_NUM_THREADS"));
    assert_int_equal(worker_env_threads(we, 0), 0);
    worker_env_free(we);
}

/* Bound workers get their share of the cores; with a GPU not more than is of use. */
static void test_threads_of_bound_workers(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 3);
    struct numa_binding_worker workers[] = {
        {.cores = 12, .mem_node = 1}, {.cores = 56, .mem_node = -1}, {.cores = 1}};
    struct numa_binding binding = {
        .mode = "node", .has_gpus = true, .count = 3, .workers = workers};
    cpu_mask_add(&workers[1].cpus, 7);
    s.spec.binding = &binding;
    struct worker_env *we = worker_env_new(&s.spec);
    assert_string_equal(mu_env_get(worker_env_command(we, 0)->envp, "OMP_NUM_THREADS"), "12");
    assert_string_equal(mu_env_get(worker_env_command(we, 1)->envp, "OMP_NUM_THREADS"), "16");
    assert_string_equal(mu_env_get(worker_env_command(we, 2)->envp, "OMP_NUM_THREADS"), "1");
    assert_int_equal(worker_env_threads(we, 0), 12);
    assert_true(cpu_mask_has(worker_env_command(we, 1)->cpus, 7));
    assert_int_equal(worker_env_command(we, 0)->mem_node, 1);
    assert_int_equal(worker_env_command(we, 1)->mem_node, -1);
    worker_env_free(we);

    binding.has_gpus = false; /* the CPUs do all the work */
    we = worker_env_new(&s.spec);
    assert_string_equal(mu_env_get(worker_env_command(we, 1)->envp, "OMP_NUM_THREADS"), "56");
    worker_env_free(we);

    WORDS(s.parent_env, "OMP_NUM_THREADS=5");
    we = worker_env_new(&s.spec);
    assert_string_equal(mu_env_get(worker_env_command(we, 1)->envp, "OMP_NUM_THREADS"), "5");
    assert_int_equal(count_of(worker_env_command(we, 1)->envp, "OMP_NUM_THREADS"), 1);
    assert_int_equal(worker_env_threads(we, 1), 0);
    worker_env_free(we);
}

static void test_not_bound(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    struct worker_env *we = worker_env_new(&s.spec);
    assert_null(worker_env_command(we, 0)->cpus);
    assert_null(mu_env_get(worker_env_command(we, 0)->envp, "CUDA_VISIBLE_DEVICES"));
    worker_env_free(we);
}

/* All else goes by the true local rank, as torchrun has it. */
static void test_virtual_local_rank(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 2);
    s.opts.virtual_local_rank = true;
    WORDS(s.script_args, "r=${local_rank}");
    static const char *const expected[] = {
        "LOCAL_RANK=0",
        "RANK=4",
        "ROLE_RANK=2",
        "LOCAL_WORLD_SIZE=2",
        "CUDA_VISIBLE_DEVICES=1",
        "TORCHELASTIC_ERROR_FILE=/logs/job7_x/attempt_2/1/error.json",
        NULL,
    };
    struct worker_env *we = worker_env_new(&s.spec);
    assert_env(worker_env_command(we, 1)->envp, expected);
    ASSERT_ARGV(worker_env_command(we, 1), "/usr/bin/python3", "-u", "train.py", "r=1");
    worker_env_free(we);
}

static void test_virtual_local_rank_of_a_list(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        size_t local_rank;
        const char *entry; /* NULL: refused */
    } cases[] = {
        {"CUDA_VISIBLE_DEVICES=5,7", 0, "5"},
        {"CUDA_VISIBLE_DEVICES=5,7", 1, "7"},
        {"CUDA_VISIBLE_DEVICES= 5 , 7 ,9", 1, "7"},
        {"CUDA_VISIBLE_DEVICES=GPU-a,MIG-b/1/0", 1, "MIG-b/1/0"},
        {"CUDA_VISIBLE_DEVICES=", 0, ""},
        {"CUDA_VISIBLE_DEVICES=4,", 1, ""},
        {"CUDA_VISIBLE_DEVICES=4", 1, NULL},
        {"CUDA_VISIBLE_DEVICES=", 1, NULL},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct scene s;
        scene_init(&s, (int64_t)cases[i].local_rank + 1);
        s.opts.virtual_local_rank = true;
        WORDS(s.parent_env, cases[i].list);
        struct mu_err err = MU_ERR_INIT;
        if (cases[i].entry == NULL) {
            assert_int_equal(worker_env_check(&s.opts, s.parent_env, &err), -1);
            assert_int_equal(err.code, MU_E_USAGE);
            s.opts.virtual_local_rank = false; /* the list is not dealt out */
            assert_int_equal(worker_env_check(&s.opts, s.parent_env, &err), 0);
            continue;
        }
        assert_int_equal(worker_env_check(&s.opts, s.parent_env, &err), 0);
        struct worker_env *we = worker_env_new(&s.spec);
        char *const *envp = worker_env_command(we, cases[i].local_rank)->envp;
        assert_string_equal(mu_env_get(envp, "CUDA_VISIBLE_DEVICES"), cases[i].entry);
        assert_int_equal(count_of(envp, "CUDA_VISIBLE_DEVICES"), 1);
        worker_env_free(we);
    }
}

static void test_without_a_run_directory(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    s.spec.attempt_dir = NULL;
    WORDS(s.parent_env, "TORCHELASTIC_ERROR_FILE=/outer");
    static const char *const expected[] = {"TORCHELASTIC_ERROR_FILE=", NULL};
    struct worker_env *we = worker_env_new(&s.spec);
    assert_env(worker_env_command(we, 0)->envp, expected);
    worker_env_free(we);
}

static void test_signals_as_given(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    s.opts.signals_to_handle = "SIGTERM, usr1";
    static const char *const expected[] = {"TORCHELASTIC_SIGNALS_TO_HANDLE=SIGTERM, usr1", NULL};
    struct worker_env *we = worker_env_new(&s.spec);
    assert_env(worker_env_command(we, 0)->envp, expected);
    worker_env_free(we);
}

/* A preset path is passed on, unless there is one of ours. */
static void test_timer_file(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    WORDS(s.parent_env, "TORCHELASTIC_TIMER_FILE=/outer", "TORCHELASTIC_TIMER_FILES=1");
    static const char *const paths[] = {NULL, "/fifo"};
    static const char *const entries[] = {"TORCHELASTIC_TIMER_FILE=/outer",
                                          "TORCHELASTIC_TIMER_FILE=/fifo"};
    for (size_t i = 0; i < MU_COUNT(paths); i++) {
        s.spec.timer_file = paths[i];
        const char *const expected[] = {entries[i], "TORCHELASTIC_TIMER_FILES=1", NULL};
        struct worker_env *we = worker_env_new(&s.spec);
        assert_env(worker_env_command(we, 0)->envp, expected);
        assert_int_equal(count_of(worker_env_command(we, 0)->envp, "TORCHELASTIC_TIMER_FILE"), 1);
        worker_env_free(we);
    }
}

static void test_script(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    WORDS(s.script_args, "--config", "c.yaml", "");
    struct worker_env *we = worker_env_new(&s.spec);
    const struct worker_command *c = worker_env_command(we, 0);
    ASSERT_ARGV(c, "/usr/bin/python3", "-u", "train.py", "--config", "c.yaml", "");
    assert_string_equal(c->program, "/usr/bin/python3");
    assert_string_equal(c->script, "train.py");
    worker_env_free(we);

    s.opts.script = "-"; /* standard input: there is no file to look for */
    we = worker_env_new(&s.spec);
    assert_null(worker_env_command(we, 0)->script);
    worker_env_free(we);
}

static void test_module(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    s.opts.module = true;
    s.opts.script = "pkg.train";
    struct worker_env *we = worker_env_new(&s.spec);
    const struct worker_command *c = worker_env_command(we, 0);
    ASSERT_ARGV(c, "/usr/bin/python3", "-u", "-m", "pkg.train");
    assert_null(c->script);
    worker_env_free(we);
}

static void test_program(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 2);
    s.opts.no_python = true;
    s.opts.script = "tra$$in";
    s.spec.program = "/opt/tra$$in";
    WORDS(s.script_args, "$$", "r=${local_rank}");
    struct worker_env *we = worker_env_new(&s.spec);
    const struct worker_command *c = worker_env_command(we, 1);
    ASSERT_ARGV(c, "tra$$in", "$", "r=1");
    assert_string_equal(c->program, "/opt/tra$$in");
    assert_null(c->script);
    worker_env_free(we);
}

static void test_script_is_substituted_too(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 2);
    s.opts.script = "t$local_rank.py";
    struct worker_env *we = worker_env_new(&s.spec);
    assert_string_equal(worker_env_command(we, 1)->script, "t1.py");
    ASSERT_ARGV(worker_env_command(we, 1), "/usr/bin/python3", "-u", "t1.py");
    worker_env_free(we);
}

/* Each as Python's string.Template(...).safe_substitute(local_rank=5) has it. */
static void test_substitute(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *result;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"${local_rank}", "5"},
        {"$local_rank", "5"},
        {"a$local_rank.b", "a5.b"},
        {"$local_rank$local_rank", "55"},
        {"a$local_rankb", "a$local_rankb"},
        {"$local_rank_", "$local_rank_"},
        {"$local_rank9", "$local_rank9"},
        {"$local_ran", "$local_ran"},
        {"$_local_rank", "$_local_rank"},
        {"$LOCAL_RANK", "$LOCAL_RANK"},
        {"${local_rank", "${local_rank"},
        {"${ local_rank}", "${ local_rank}"},
        {"${x}", "${x}"},
        {"$x", "$x"},
        {"$1", "$1"},
        {"$", "$"},
        {"a$", "a$"},
        {"$$", "$"},
        {"$$$", "$$"},
        {"$$$$", "$$"},
        {"$$local_rank", "$local_rank"},
        {"$${local_rank}", "${local_rank}"},
        {"$$${local_rank}", "$5"},
        {"$local_rank\xc3\xa9", "5\xc3\xa9"},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        mu_autofree char *got = worker_env_substitute(cases[i].text, 5);
        assert_string_equal(got, cases[i].result);
    }
}

/* Each worker would believe to be the process that mpirun started. */
static void test_what_mpirun_set(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 2);
    WORDS(s.parent_env, "PATH=/bin", "OMPI_COMM_WORLD_RANK=1", "PMIX_RANK=1", "PMI_FD=11");
    struct worker_env *we = worker_env_new(&s.spec);
    char *const *envp = worker_env_command(we, 1)->envp;
    assert_int_equal(count_of(envp, "PATH"), 1);
    assert_int_equal(count_of(envp, "OMPI_COMM_WORLD_RANK"), 0);
    assert_int_equal(count_of(envp, "PMIX_RANK"), 0);
    assert_int_equal(count_of(envp, "PMI_FD"), 0);
    worker_env_free(we);

    s.opts.keep_mpi_env = true;
    we = worker_env_new(&s.spec);
    envp = worker_env_command(we, 1)->envp;
    assert_int_equal(count_of(envp, "OMPI_COMM_WORLD_RANK"), 1);
    assert_int_equal(count_of(envp, "PMIX_RANK"), 1);
    assert_int_equal(count_of(envp, "PMI_FD"), 1);
    worker_env_free(we);
}

static void test_strings_are_shared(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, MU_MAX_LOCAL_WORLD);
    WORDS(s.parent_env, "PATH=/bin");
    WORDS(s.script_args, "--same");
    struct worker_env *we = worker_env_new(&s.spec);
    const struct worker_command *a = worker_env_command(we, 0);
    const struct worker_command *b = worker_env_command(we, MU_MAX_LOCAL_WORLD - 1);
    assert_ptr_equal(mu_env_get(a->envp, "PATH"), mu_env_get(b->envp, "PATH"));
    assert_ptr_equal(mu_env_get(a->envp, "WORLD_SIZE"), mu_env_get(b->envp, "WORLD_SIZE"));
    assert_ptr_equal(a->argv[3], b->argv[3]);
    assert_string_equal(mu_env_get(b->envp, "LOCAL_RANK"), "1023");
    worker_env_free(we);
    worker_env_free(NULL);
}

static void test_interface(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    struct net_choice net = {.name = "eth0"};
    s.spec.net = &net;
    struct worker_env *we = worker_env_new(&s.spec);
    static const char *const plain[] = {"GLOO_SOCKET_IFNAME=eth0", "NCCL_SOCKET_IFNAME=eth0",
                                        "TP_SOCKET_IFNAME=eth0", NULL};
    assert_env(worker_env_command(we, 0)->envp, plain);
    worker_env_free(we);

    /* NCCL would take eth0.7 as well; the others want a name and nothing else. */
    net.is_prefix = true;
    we = worker_env_new(&s.spec);
    static const char *const exact[] = {"GLOO_SOCKET_IFNAME=eth0", "NCCL_SOCKET_IFNAME==eth0",
                                        "TP_SOCKET_IFNAME=eth0", NULL};
    assert_env(worker_env_command(we, 0)->envp, exact);
    worker_env_free(we);

    /* What is set is kept, each by itself; to nothing, too: that is the library's own choice. */
    WORDS(s.parent_env, "NCCL_SOCKET_IFNAME=ib", "TP_SOCKET_IFNAME=");
    we = worker_env_new(&s.spec);
    static const char *const kept[] = {"GLOO_SOCKET_IFNAME=eth0", "NCCL_SOCKET_IFNAME=ib",
                                       "TP_SOCKET_IFNAME=", NULL};
    assert_env(worker_env_command(we, 0)->envp, kept);
    worker_env_free(we);

    WORDS(s.parent_env, NULL);
    net.name[0] = '\0';
    we = worker_env_new(&s.spec);
    assert_int_equal(count_of(worker_env_command(we, 0)->envp, "GLOO_SOCKET_IFNAME"), 0);
    assert_int_equal(count_of(worker_env_command(we, 0)->envp, "NCCL_SOCKET_IFNAME"), 0);
    assert_int_equal(count_of(worker_env_command(we, 0)->envp, "TP_SOCKET_IFNAME"), 0);
    worker_env_free(we);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_torchrun_sets),
        cmocka_unit_test(test_parent_variables),
        cmocka_unit_test(test_one_worker_keeps_its_threads),
        cmocka_unit_test(test_threads_of_bound_workers),
        cmocka_unit_test(test_not_bound),
        cmocka_unit_test(test_virtual_local_rank),
        cmocka_unit_test(test_virtual_local_rank_of_a_list),
        cmocka_unit_test(test_without_a_run_directory),
        cmocka_unit_test(test_signals_as_given),
        cmocka_unit_test(test_timer_file),
        cmocka_unit_test(test_interface),
        cmocka_unit_test(test_script),
        cmocka_unit_test(test_module),
        cmocka_unit_test(test_program),
        cmocka_unit_test(test_script_is_substituted_too),
        cmocka_unit_test(test_substitute),
        cmocka_unit_test(test_what_mpirun_set),
        cmocka_unit_test(test_strings_are_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
