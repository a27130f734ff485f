/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/options_show.h"

#include "launcher/dry_run.h"
#include "launcher/options_check.h"
#include "launcher/options_parse.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static const struct sched *sched; /* of the next show() */
static struct mu_buf shown;
static struct mu_err failure;

enum what { CONFIG, DRY_RUN };

/* What is shown of `muster run word...`; `env` is "NAME=value", or NULL. Returns the exit code. */
static int show(enum what what, const char *env, const char *const *words)
{
    static char command[] = "run";
    char *argv[16] = {command};
    char *envp[4] = {NULL};
    static char path[] = "PATH=/usr/bin:/bin";
    int argc = 1;
    for (; *words != NULL; words++) {
        argv[argc++] = (char *)(uintptr_t)*words;
    }
    envp[0] = path;
    envp[1] = (char *)(uintptr_t)env;
    struct options opts;
    struct mu_err err = MU_ERR_INIT;
    int parsed = options_parse(&opts, OPTIONS_RUN, argc, argv, envp, &err);
    opts.sched = sched;
    if (parsed != 0 || options_check(&opts, &err) != 0) {
        fail_msg("%s", err.text);
    }
    shown.len = 0;
    failure = (struct mu_err)MU_ERR_INIT;
    int rc = 0;
    if (what == CONFIG) {
        options_show(&opts, &shown);
    } else {
        rc = dry_run_show(&opts, &(struct local_world){0}, envp, &shown, &failure);
    }
    mu_buf_append_u8(&shown, '\0');
    return rc;
}
#define SHOW(what, env, ...) show(what, env, (const char *const[]){__VA_ARGS__, NULL})

static void assert_shown(const char *line)
{
    if (strstr((const char *)shown.data, line) == NULL) {
        fail_msg("'%s' is not in:\n%s", line, (const char *)shown.data);
    }
}

static void assert_not_shown(const char *line)
{
    if (strstr((const char *)shown.data, line) != NULL) {
        fail_msg("'%s' is in:\n%s", line, (const char *)shown.data);
    }
}

static int teardown(void **state)
{
    (void)state;
    mu_buf_fini(&shown);
    return 0;
}

static void test_values_and_origins(void **state)
{
    (void)state;
    SHOW(CONFIG, "PET_MAX_RESTARTS=3", "--nnodes=2:12", "--rdzv-endpoint=h1", "--grace=90",
         "--store-memory=512M", "--join-timeout=1h", "--node-timeout=250ms", "--log-dir=a b\"c",
         "-m", "pkg");
    assert_shown("# Size of the job\nnnodes: \"2:12\" ");
    assert_shown(" # --nnodes\n");
    assert_shown("\nrdzv-endpoint: \"h1:29500\" ");
    assert_shown("\nmax-restarts: 3                          # PET_MAX_RESTARTS\n");
    assert_shown("\nnproc-per-node: 1                        # default\n");
    assert_shown("\n# node-rank:                             # unset\n");
    assert_shown("\ngrace: 90s ");
    assert_shown("\nstore-memory: 512M ");
    assert_shown("\njoin-timeout: 1h ");
    assert_shown("\nnode-timeout: 250ms ");
    assert_shown("\nlog-dir: \"a b\\\"c\" ");
    assert_shown("\nmodule: true                             # --module\n");
    assert_shown("\nevent-log-handler: \"null\" ");
    assert_not_shown("print-config");
    assert_not_shown("listen"); /* of another command */
}

static void test_implied_values(void **state)
{
    (void)state;
    SHOW(CONFIG, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT=5", "--rdzv-conf", "last_call_timeout=0.5",
         "--local-addr=10.0.0.7", "--nproc-per-node=auto", "t.py");
    assert_shown("\nnproc-per-node: auto ");
    assert_shown("\nlast-call: 500ms                         # --rdzv-conf\n");
    assert_shown("\ngrace: 5s                                # --shutdown-timeout\n");
    assert_shown("\nshutdown-timeout: 5s                     # TORCH_ELASTIC_SHUTDOWN_TIMEOUT\n");
    assert_shown("\nnode-name: 10.0.0.7                      # --local-addr\n");
}

static void test_one_node(void **state)
{
    (void)state;
    assert_int_equal(SHOW(DRY_RUN, NULL, "--rdzv-id=j", "--nproc-per-node=8", "--node-name=n",
                          "--no-python", "true", "it's", "$local_rank"),
                     0);
    assert_shown("Job 'j': 1 node, 8 workers; coordinator: in this process, on a free port\n");
    assert_shown("\n0      0-7             this node, n\n");
    assert_shown("\n    true 'it'\\''s' 0\n");
    assert_shown("\n    LOCAL_RANK=0\n");
    assert_shown("\n    MASTER_PORT=(any free one)\n");
    assert_shown("\n    OMP_NUM_THREADS=1\n");
    assert_not_shown("PATH=/usr/bin"); /* inherited */
    assert_shown("\nNothing was started.\n");
}

static void test_many_nodes(void **state)
{
    (void)state;
    assert_int_equal(SHOW(DRY_RUN, NULL, "--nnodes=2:1000", "--rdzv-endpoint=h1:7",
                          "--nproc-per-node=4", "--node-rank=500", "--no-python", "true"),
                     0);
    assert_shown("Job 'none': 1000 nodes, 4000 workers; coordinator: h1:7\n");
    assert_shown("\n7      28-31\n...\n500    2000-2003       this node, ");
    assert_shown("\n...\n999    3996-3999\n");
    assert_shown("\n    RANK=2000\n");
    assert_shown("\n    MASTER_ADDR=h1\n    MASTER_PORT=7\n");
    assert_not_shown("no --node-rank");
    SHOW(DRY_RUN, NULL, "--nnodes=3", "--rdzv-endpoint=h1:7", "--no-python", "true");
    assert_shown("\n2      2\nThis node has no --node-rank: its place follows from the order of "
                 "the names.\n");
}

static void test_place_by_the_scheduler(void **state)
{
    (void)state;
    struct sched third = {.kind = SCHED_SLURM, .name = "Slurm", .node_count = 3, .node_index = 2};
    sched = &third;
    assert_int_equal(
        SHOW(DRY_RUN, NULL, "--rdzv-endpoint=h1:7", "--nproc-per-node=2", "--no-python", "true"),
        0);
    sched = NULL;
    assert_shown("\n2      4-5             this node, ");
    assert_shown("\n    RANK=4\n");
    assert_not_shown("no --node-rank");
}

static void test_what_cannot_be_executed(void **state)
{
    (void)state;
    assert_int_equal(SHOW(DRY_RUN, NULL, "--no-python", "no-such-program"), -1);
    assert_int_equal(failure.code, MU_E_USAGE);
    assert_string_equal(failure.text, "program 'no-such-program' is not on PATH (/usr/bin:/bin)");
    assert_shown("\n0      0 "); /* what can be shown is */
    assert_int_equal(SHOW(DRY_RUN, NULL, "--python=/bin/true", "no-such.py"), -1);
    assert_string_equal(failure.text, "script 'no-such.py': No such file or directory");
    assert_not_shown("Nothing was started");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_and_origins),
        cmocka_unit_test(test_implied_values),
        cmocka_unit_test(test_one_node),
        cmocka_unit_test(test_many_nodes),
        cmocka_unit_test(test_place_by_the_scheduler),
        cmocka_unit_test(test_what_cannot_be_executed),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
