/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/options.h"

#include "launcher/options_check.h"
#include "launcher/options_parse.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

/* What is parsed: words after the command's name, an environment. */
struct given {
    const char *argv[12];
    const char *envp[6];
};

static int parse_as(enum options_command command, const struct given *given, struct options *opts,
                    struct mu_err *err)
{
    static char name[] = "command";
    char *argv[16] = {name};
    char *envp[8] = {NULL};
    int argc = 1;
    for (size_t i = 0; given->argv[i] != NULL; i++) {
        argv[argc++] = (char *)(uintptr_t)given->argv[i];
    }
    memcpy(envp, given->envp, sizeof(given->envp));
    /* script_args points into argv: keep it for the caller. */
    static char *kept[16];
    memcpy(kept, argv, sizeof(argv));
    return options_parse(opts, command, argc, kept, envp, err);
}

#define PARSE(command, opts, err, ...) parse_as(command, &(struct given)__VA_ARGS__, opts, err)
#define ARGS(...)               \
    {                           \
        .argv = { __VA_ARGS__ } \
    }

static void assert_fails(enum options_command command, const struct given *given, const char *text)
{
    struct options opts;
    struct mu_err err = MU_ERR_INIT;
    int rc = parse_as(command, given, &opts, &err);
    if (rc == 0) {
        rc = options_check(&opts, &err);
    }
    assert_int_equal(rc, -1);
    assert_string_equal(err.text, text);
    assert_int_equal(err.code, MU_E_USAGE);
    assert_int_equal(mu_err_exit_status(&err), 2);
}
#define ASSERT_FAILS(text, ...) assert_fails(OPTIONS_RUN, &(struct given)__VA_ARGS__, text)

/* Parse for `run` and check; must succeed. */
static void must(struct options *opts, const struct given *given)
{
    struct mu_err err = MU_ERR_INIT;
    if (parse_as(OPTIONS_RUN, given, opts, &err) != 0 || options_check(opts, &err) != 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(err.code, MU_E_NONE);
}
#define MUST(opts, ...) must(opts, &(struct given)__VA_ARGS__)

static void test_table(void **state)
{
    (void)state;
    for (enum options_id id = 0; id < OPTION_COUNT; id++) {
        const struct options_row *row = &options_table()[id];
        assert_non_null(row->name);
        assert_non_null(row->help);
        assert_true(row->commands != 0);
        assert_int_equal(row->type == OPTIONS_FLAG, row->value_name == NULL);
        assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz0-9-"), strlen(row->name));
        assert_true(row->type != OPTIONS_CHOICE || row->choices != NULL);
        assert_true(row->type != OPTIONS_RANGE || row->max > 0);
        for (enum options_id other = 0; other < id; other++) {
            const struct options_row *earlier = &options_table()[other];
            if ((row->commands & earlier->commands) != 0) {
                assert_string_not_equal(row->name, earlier->name);
                assert_true(row->short_name == 0 || row->short_name != earlier->short_name);
            }
        }
    }
}

static void test_defaults(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, ARGS("train.py"));
    assert_true(o.nnodes.min == 1 && o.nnodes.max == 1);
    assert_int_equal(o.nproc_per_node, 1);
    assert_int_equal(o.node_rank, -1);
    assert_int_equal(o.master_port, -1);
    assert_null(o.master_addr);
    assert_null(o.log_dir);
    assert_null(o.python);
    assert_string_equal(o.rdzv_endpoint.host, "");
    assert_string_equal(o.role, "default");
    assert_string_equal(o.log_level, "notice");
    assert_false(o.module);
    assert_false(o.no_python);
    assert_int_equal(o.max_restarts, 0);
    assert_int_equal(o.join_timeout_ms, 600000);
    assert_int_equal(o.node_timeout_ms, 5000);
    assert_int_equal(o.grace_ms, 30000);
    assert_int_equal(o.last_call_ms, 30000);
    assert_string_equal(o.script, "train.py");
    assert_null(o.script_args[0]);
    assert_true(o.node_name[0] != '\0');
}

static void test_spellings(void **state)
{
    (void)state;
    static const struct given cases[] = {
        ARGS("--nproc-per-node", "4", "t.py"), ARGS("--nproc_per_node", "4", "t.py"),
        ARGS("--nproc-per-node=4", "t.py"),    ARGS("--nproc_per_node=4", "t.py"),
        ARGS("--nproc", "4", "t.py"),          ARGS("--nproc=4", "t.py"),
        ARGS("--nproc_per=4", "t.py"),         ARGS("--nproc-per-node=2", "--nproc=4", "t.py"),
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct options o;
        must(&o, &cases[i]);
        assert_int_equal(o.nproc_per_node, 4);
        assert_int_equal(o.origin[OPTION_nproc_per_node], OPTIONS_FROM_CLI);
        assert_string_equal(o.script, "t.py");
    }
}

static void test_short_options(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, ARGS("-m", "pkg.train", "-m"));
    assert_true(o.module);
    assert_string_equal(o.script, "pkg.train");
    assert_string_equal(o.script_args[0], "-m");
    ASSERT_FAILS("unknown option '-x'", ARGS("-x", "t.py"));
    ASSERT_FAILS("unknown option '-mx'", ARGS("-mx", "t.py"));
    ASSERT_FAILS("unknown option '-module'; did you mean '--module'?", ARGS("-module", "t"));
    assert_int_equal(PARSE(OPTIONS_RUN, &o, NULL, ARGS("-mh")), 0);
    assert_true(o.module && o.help);
}

static void test_the_script_ends_the_options(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, ARGS("--nproc-per-node=2", "t.py", "--nnodes", "4", "--", "x", "-h", "--help"));
    assert_int_equal(o.nnodes.max, 1);
    assert_false(o.help);
    static const char *const expected[] = {"--nnodes", "4", "--", "x", "-h", "--help"};
    for (size_t i = 0; i < MU_COUNT(expected); i++) {
        assert_string_equal(o.script_args[i], expected[i]);
    }
    assert_null(o.script_args[6]);

    MUST(&o, ARGS("--", "--odd-name", "--nnodes"));
    assert_string_equal(o.script, "--odd-name");
    assert_string_equal(o.script_args[0], "--nnodes");
    MUST(&o, ARGS("-a script", "--nnodes=4"));
    assert_string_equal(o.script, "-a script");
    MUST(&o, ARGS("-", "a"));
    assert_string_equal(o.script, "-");
}

static void test_unknown_options(void **state)
{
    (void)state;
    ASSERT_FAILS("unknown option '--nprocs-per-node'; did you mean '--nproc-per-node'?",
                 ARGS("--nprocs-per-node", "2", "t.py"));
    ASSERT_FAILS("unknown option '--rdvz_id'; did you mean '--rdzv-id'?",
                 ARGS("--rdvz_id=7", "t.py"));
    ASSERT_FAILS("unknown option '--frobnicate'", ARGS("--frobnicate", "t.py"));
    ASSERT_FAILS("unknown option '--'", ARGS("--=3", "t.py"));
    ASSERT_FAILS("unknown option '--nnodes-'; did you mean '--nnodes'?", ARGS("--nnodes-=3", "t"));
    /* an option of another command is none of this one's */
    ASSERT_FAILS("unknown option '--json'", ARGS("--json", "t.py"));
}

static void test_abbreviations(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, ARGS("--stand", "t.py"));
    assert_true(o.standalone);
    /* --node-rank is torchrun's; --node-name and --node-timeout, ours, do not get in its way */
    MUST(&o, ARGS("--node", "0", "t.py"));
    assert_int_equal(o.node_rank, 0);
    MUST(&o, ARGS("--max", "3", "t.py"));
    assert_int_equal(o.max_restarts, 3);
    ASSERT_FAILS("option '--master' is ambiguous: --master-addr, --master-port",
                 ARGS("--master", "x", "t.py"));
    ASSERT_FAILS("option '--m' is ambiguous: --master-addr, --master-port, --module, "
                 "--max-restarts, --min-uptime, --max-node-losses, --monitor-interval",
                 ARGS("--m", "x", "t.py"));
}

static void test_devices(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, ARGS("--nproc-per-node=auto", "t.py"));
    assert_int_equal(o.nproc_per_node, OPTIONS_NPROC_AUTO);
    MUST(&o, {.argv = {"t.py"}, .envp = {"PET_NPROC_PER_NODE=gpu"}});
    assert_int_equal(o.nproc_per_node, OPTIONS_NPROC_GPU);
}

static void test_rdzv_conf(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, ARGS("--rdzv-conf", " join_timeout = 5 ,last_call_timeout=2.5,is_host=1,x=y", "t"));
    assert_int_equal(o.join_timeout_ms, 5000);
    assert_int_equal(o.last_call_ms, 2500);
    assert_int_equal(o.node_timeout_ms, 5000);
    assert_int_equal(o.origin[OPTION_join_timeout_ms], OPTIONS_FROM_OTHER);
    MUST(&o, ARGS("--rdzv-conf=timeout=7,keep_alive_interval=2,keep_alive_max_attempt=4", "t"));
    assert_int_equal(o.join_timeout_ms, 7000);
    assert_int_equal(o.node_timeout_ms, 8000);
    MUST(&o, ARGS("--rdzv-conf=join_timeout=7,join_timeout=8,timeout=9", "t"));
    assert_int_equal(o.join_timeout_ms, 8000);
    MUST(&o, ARGS("--join-timeout=1", "--rdzv-conf", "join_timeout=7", "t"));
    assert_int_equal(o.join_timeout_ms, 1000);
    MUST(&o, {.argv = {"t"}, .envp = {"PET_RDZV_CONF=join_timeout=3"}});
    assert_int_equal(o.join_timeout_ms, 3000);
    MUST(&o, ARGS("--rdzv-conf=", "t"));
    ASSERT_FAILS("--rdzv-conf: 'join_timeout' is not KEY=VALUE, as in join_timeout=60",
                 ARGS("--rdzv-conf", "join_timeout", "t"));
    ASSERT_FAILS("--rdzv-conf: 'b=' is not KEY=VALUE, as in join_timeout=60",
                 ARGS("--rdzv-conf", "a=1,b=", "t"));
    ASSERT_FAILS("--rdzv-conf: join_timeout: 'soon' is no time in seconds",
                 ARGS("--rdzv-conf", "join_timeout=soon", "t"));
}

static void test_grace(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, ARGS("--shutdown-timeout=3", "t"));
    assert_int_equal(o.grace_ms, 3000);
    MUST(&o, ARGS("--shutdown-timeout=3", "--grace=4", "t"));
    assert_int_equal(o.grace_ms, 4000);
    MUST(&o, {.argv = {"t"}, .envp = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT=9"}});
    assert_int_equal(o.grace_ms, 9000);
    MUST(&o,
         {.argv = {"t"}, .envp = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT=9", "PET_SHUTDOWN_TIMEOUT=8"}});
    assert_int_equal(o.grace_ms, 8000);
}

static void test_what_torchrun_alone_can(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, ARGS("--run-path", "--no-python", "--start-method=fork", "/t.py"));
    assert_false(o.no_python);
    MUST(&o, ARGS("--local-addr=10.0.0.1", "t.py"));
    assert_string_equal(o.node_name, "10.0.0.1");
    ASSERT_FAILS("--start-method: 'thread' is none of spawn, fork or forkserver",
                 ARGS("--start-method=thread", "t.py"));
    MUST(&o, ARGS("--logs-specs=mine", "t.py"));
}

static void test_missing_values(void **state)
{
    (void)state;
    ASSERT_FAILS("option '--nnodes' needs a value: N|MIN:MAX", ARGS("--nnodes"));
    ASSERT_FAILS("option '--rdzv-id' needs a value, ID, but '--standalone' follows",
                 ARGS("--rdzv-id", "--standalone", "t.py"));
    ASSERT_FAILS("option '--rdzv-id' needs a value, ID, but '--' follows",
                 ARGS("--rdzv-id", "--", "t.py"));
    ASSERT_FAILS("option '--standalone' takes no value, but was given 'yes'",
                 ARGS("--standalone=yes", "t.py"));
    ASSERT_FAILS("--node-rank: '-1' is not a whole number from 0 to 65535",
                 ARGS("--node-rank", "-1", "t.py"));
    struct options o;
    MUST(&o, ARGS("--role=-x", "--node-name", "-5", "--rdzv-id", "a -b", "--log-dir=a b", "t.py"));
    assert_string_equal(o.log_dir, "a b");
    assert_string_equal(o.role, "-x");
    assert_string_equal(o.node_name, "-5");
}

/* As Python's int() and float() have it. */
static void test_numbers_of_torchrun(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, ARGS("--nproc-per-node", " 2", "--nnodes= 1 : 3 ", "--max-restarts=+4",
                  "--log-dir=", "--monitor-interval=1e-1", "--shutdown-timeout= .5 ", "--role= x ",
                  "--rdzv-endpoint= n1:29501\n", "t.py"));
    assert_int_equal(o.nproc_per_node, 2);
    assert_int_equal(o.nnodes.min * 10 + o.nnodes.max, 13);
    assert_int_equal(o.max_restarts, 4);
    assert_int_equal(o.monitor_interval_ms, 100);
    assert_int_equal(o.grace_ms, 500);
    assert_string_equal(o.rendezvous.endpoint.host, "n1");
    assert_string_equal(o.role, " x ");
    assert_null(o.log_dir);
    ASSERT_FAILS("--max-restarts: '1 0' is not a whole number from 0 to 1000000",
                 ARGS("--max-restarts=1 0", "t.py"));
    /* A rank among nodes means nothing to a job that is on one node by itself. */
    MUST(&o, ARGS("--standalone", "--node-rank=1", "--master-addr=n1", "--master-port=1", "t.py"));
    assert_int_equal(o.node_rank, -1);
    ASSERT_FAILS("--node-rank 1 is too large: ranks count from 0, and --nnodes allows 1",
                 ARGS("--node-rank=1", "--master-port=29500", "t.py"));
}

static void test_wrong_values(void **state)
{
    (void)state;
    ASSERT_FAILS(
        "--nproc-per-node: '0' is neither a whole number from 1 to 1024 nor auto, cpu, gpu or xpu",
        ARGS("--nproc-per-node", "0", "t.py"));
    ASSERT_FAILS("--nproc-per-node: '1025' is neither a whole number from 1 to 1024 nor auto, cpu, "
                 "gpu or xpu",
                 ARGS("--nproc-per-node=1025", "t.py"));
    ASSERT_FAILS("--max-restarts: '' is not a whole number from 0 to 1000000",
                 ARGS("--max-restarts=", "t.py"));
    ASSERT_FAILS("--node-timeout: '5ms' is shorter than 100 ms",
                 ARGS("--node-timeout=5ms", "t.py"));
    ASSERT_FAILS("--log-level: 'loud' is none of error, warn, notice, info or debug",
                 ARGS("--log-level=loud", "t.py"));
    ASSERT_FAILS("--log-level: '' is none of error, warn, notice, info or debug",
                 ARGS("--log-level=", "t.py"));
    ASSERT_FAILS("--rdzv-endpoint: port of 'a:x': 'x' is not a whole number from 0 to 65535",
                 ARGS("--rdzv-endpoint=a:x", "t.py"));
    ASSERT_FAILS("--nnodes: '3:2' is neither a number N nor a range MIN:MAX with 1 <= MIN <= MAX "
                 "<= 65536",
                 ARGS("--nnodes=3:2", "t.py"));
    char id[MU_MAX_NAME + 2];
    memset(id, 'a', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    ASSERT_FAILS("--rdzv-id: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...' is longer than 255 bytes",
                 ARGS("--rdzv-id", id, "t.py"));
}

static void test_environment(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, {.argv = {"t.py"}, .envp = {"PET_NPROC_PER_NODE=3", "MUSTER_GRACE=1m"}});
    assert_int_equal(o.nproc_per_node, 3);
    assert_int_equal(o.origin[OPTION_nproc_per_node], OPTIONS_FROM_PET);
    assert_int_equal(o.grace_ms, 60000);
    assert_int_equal(o.origin[OPTION_grace_ms], OPTIONS_FROM_MUSTER);
    assert_int_equal(o.origin[OPTION_nnodes], OPTIONS_FROM_DEFAULT);

    /* command line, then MUSTER_, then PET_; whichever is there but not needed is not even read */
    MUST(&o, {.argv = {"t.py"}, .envp = {"PET_ROLE=p", "MUSTER_ROLE=m"}});
    assert_string_equal(o.role, "m");
    MUST(&o, {.argv = {"--nproc=2", "t.py"}, .envp = {"PET_NPROC_PER_NODE=x"}});
    assert_int_equal(o.nproc_per_node, 2);
    MUST(&o, {.argv = {"t.py"}, .envp = {"MUSTER_MAX_RESTARTS=2", "PET_MAX_RESTARTS=x"}});
    assert_int_equal(o.max_restarts, 2);

    /* not torchrun's, not to be set, not quite the name */
    MUST(&o, {.argv = {"t.py"},
              .envp = {"PET_GRACE=x", "MUSTER_HELP=1", "PET_ROLES=x", "PET_ROL=x", "ROLE=x"}});
    assert_int_equal(o.grace_ms, 30000);
    assert_string_equal(o.role, "default");
    /* an empty endpoint is what torchrun's scripts pass for none */
    MUST(&o, {.argv = {"t.py"}, .envp = {"PET_RDZV_ENDPOINT="}});
    assert_true(o.rendezvous.is_standalone);
}

static void test_environment_flags(void **state)
{
    (void)state;
    struct options o;
    MUST(&o, {.argv = {"t"}, .envp = {"PET_MODULE=1"}});
    assert_true(o.module);
    MUST(&o, {.argv = {"t"}, .envp = {"PET_MODULE=0", "MUSTER_STANDALONE=-3"}});
    assert_false(o.module);
    assert_true(o.standalone);
    ASSERT_FAILS("PET_STANDALONE: 'yes' is neither 0 (off) nor 1 (on)",
                 {.argv = {"t"}, .envp = {"PET_STANDALONE=yes"}});
    ASSERT_FAILS("MUSTER_STANDALONE: '' is neither 0 (off) nor 1 (on)",
                 {.argv = {"t"}, .envp = {"MUSTER_STANDALONE="}});
    ASSERT_FAILS("PET_MAX_RESTARTS: 'abc' is not a whole number from 0 to 1000000",
                 {.argv = {"t"}, .envp = {"PET_MAX_RESTARTS=abc"}});
}

static void test_origin_names(void **state)
{
    (void)state;
    char text[64];
    options_origin_name(OPTION_nproc_per_node, OPTIONS_FROM_PET, text, sizeof(text));
    assert_string_equal(text, "PET_NPROC_PER_NODE");
    options_origin_name(OPTION_join_timeout_ms, OPTIONS_FROM_MUSTER, text, sizeof(text));
    assert_string_equal(text, "MUSTER_JOIN_TIMEOUT");
    options_origin_name(OPTION_join_timeout_ms, OPTIONS_FROM_CLI, text, sizeof(text));
    assert_string_equal(text, "--join-timeout");
    options_origin_name(OPTION_nnodes, OPTIONS_FROM_DEFAULT, text, sizeof(text));
    assert_string_equal(text, "default");
}

static void test_help_stops_everything(void **state)
{
    (void)state;
    struct options o;
    assert_int_equal(PARSE(OPTIONS_RUN, &o, NULL,
                           {.argv = {"--help", "--frobnicate"}, .envp = {"PET_NNODES=x"}}),
                     0);
    assert_true(o.help);
    assert_int_equal(PARSE(OPTIONS_SERVE, &o, NULL, ARGS("-h")), 0);
    assert_true(o.help);
    assert_int_equal(PARSE(OPTIONS_STATUS, &o, NULL, ARGS("--hel")), 0);
    assert_true(o.help);
}

static void assert_coordinator(const struct given *given, const char *host, int port)
{
    struct options o;
    must(&o, given);
    assert_false(o.rendezvous.is_standalone);
    assert_string_equal(o.rendezvous.endpoint.host, host);
    assert_int_equal(o.rendezvous.endpoint.port, port);
}

static void test_coordinator(void **state)
{
    (void)state;
    static const struct {
        struct given given;
        const char *host;
        int port;
    } cases[] = {
        {ARGS("--nnodes=2", "--rdzv-endpoint=n1:7", "t"), "n1", 7},
        {ARGS("--nnodes=2", "--rdzv-endpoint=n1", "t"), "n1", 29500},
        {ARGS("--rdzv-endpoint=n1", "t"), "n1", 29500},
        {ARGS("--nnodes=2", "--rdzv-endpoint=n1:7", "--master-addr=n2", "t"), "n1", 7},
        {ARGS("--nnodes=2", "--master-addr=n2", "--master-port=8", "t"), "n2", 8},
        {ARGS("--nnodes=2", "--master-addr=n2", "t"), "n2", 29500},
        {ARGS("--nnodes=2", "--master-addr=[::2]", "--master-port=8", "t"), "::2", 8},
        {ARGS("--master-port=8", "t"), "127.0.0.1", 8},
        {ARGS("--master-addr=n2", "--master-port=8", "t"), "n2", 8},
        {ARGS("--nnodes=2", "--rdzv-backend=c10d", "--master-addr=n2", "t"), "n2", 29500},
        {{.argv = {"--nnodes=2", "t"}, .envp = {"PET_MASTER_ADDR=n3"}}, "n3", 29500},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        assert_coordinator(&cases[i].given, cases[i].host, cases[i].port);
    }
}

static void test_standalone(void **state)
{
    (void)state;
    static const struct given cases[] = {
        ARGS("t"),
        ARGS("--standalone", "t"),
        ARGS("--standalone", "--rdzv-endpoint=n1:7", "t"),
        ARGS("--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "t"),
        ARGS("--master-port=0", "t"),
        ARGS("--master-addr=n2", "t"),
        ARGS("--nnodes=1:1", "t"),
    };
    char last[64] = "";
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct options o;
        must(&o, &cases[i]);
        assert_true(o.rendezvous.is_standalone);
        assert_string_equal(o.rendezvous.endpoint.host, "127.0.0.1");
        assert_int_equal(o.rendezvous.endpoint.port, 0);
        assert_int_equal(strlen(o.rdzv_id), 36);
        assert_int_equal(o.rdzv_id[14], '4');
        assert_string_not_equal(o.rdzv_id, last);
        memcpy(last, o.rdzv_id, 37);
    }
    struct options o;
    MUST(&o, ARGS("--rdzv-id=job7", "t"));
    assert_string_equal(o.rdzv_id, "job7");
    MUST(&o, ARGS("--rdzv-endpoint=n1", "t"));
    assert_string_equal(o.rdzv_id, "none");
}

static void test_contradictions(void **state)
{
    (void)state;
    ASSERT_FAILS("nothing to run: give a script, a module with -m, or a program with --no-python",
                 ARGS("--nnodes=1"));
    ASSERT_FAILS("nothing to run: give a script, a module with -m, or a program with --no-python",
                 ARGS("--"));
    ASSERT_FAILS("nothing to run: give a script, a module with -m, or a program with --no-python",
                 ARGS(""));
    ASSERT_FAILS("--module and --no-python contradict each other: a module needs Python",
                 ARGS("-m", "--no-python", "t"));
    ASSERT_FAILS("--standalone is for one node, but --nnodes allows 2; give --rdzv-endpoint "
                 "HOST:PORT instead, the same on every node",
                 ARGS("--standalone", "--nnodes=1:2", "t"));
    ASSERT_FAILS("a job of more than one node needs to know where the coordinator is: give "
                 "--rdzv-endpoint HOST:PORT, the same on every node",
                 ARGS("--nnodes=2", "t"));
    ASSERT_FAILS("a job of more than one node needs to know where the coordinator is: give "
                 "--rdzv-endpoint HOST:PORT, the same on every node",
                 ARGS("--nnodes=2", "--master-port=29501", "t"));
    ASSERT_FAILS("port 0, any free one, is for one node; 2 nodes must know the port",
                 ARGS("--nnodes=2", "--rdzv-endpoint=n1:0", "t"));
    ASSERT_FAILS("--node-rank 2 is too large: ranks count from 0, and --nnodes allows 2",
                 ARGS("--nnodes=2", "--rdzv-endpoint=n1", "--node-rank=2", "t"));
    ASSERT_FAILS("--master-addr names port 7, but --master-port is 8",
                 ARGS("--nnodes=2", "--master-addr=n1:7", "--master-port=8", "t"));
    ASSERT_FAILS("--master-addr: 'a b' is not an address: HOST, HOST:PORT or [IPV6]:PORT",
                 ARGS("--nnodes=2", "--master-addr=a b", "t"));
    ASSERT_FAILS("--rdzv-id is empty; give the job a name, the same on every node",
                 ARGS("--nnodes=2", "--rdzv-endpoint=n1", "--rdzv-id=", "t"));
    ASSERT_FAILS("--rdzv-backend 'etcd-v2' is not supported: muster is its own coordinator and "
                 "needs no etcd; leave the option out and let --rdzv-endpoint name one of the "
                 "nodes",
                 ARGS("--rdzv-backend=etcd-v2", "t"));
    ASSERT_FAILS("--rdzv-backend: 'zookeeper' is neither static nor c10d",
                 ARGS("--rdzv-backend=zookeeper", "t"));
}

static void test_serve(void **state)
{
    (void)state;
    struct options o;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(PARSE(OPTIONS_SERVE, &o, &err, ARGS(NULL)), 0);
    assert_int_equal(options_check(&o, &err), 0);
    assert_string_equal(o.listen.host, "::");
    assert_int_equal(o.listen.port, 29500);
    assert_null(o.only_rdzv_id);
    assert_int_equal(PARSE(OPTIONS_SERVE, &o, &err,
                           {.argv = {"--listen", "10.0.0.1:7"}, .envp = {"MUSTER_RDZV_ID=j"}}),
                     0);
    assert_int_equal(o.listen.port, 7);
    assert_string_equal(o.only_rdzv_id, "j");
    assert_fails(OPTIONS_SERVE, &(struct given)ARGS("here"), "unexpected argument 'here'");
    assert_fails(OPTIONS_SERVE, &(struct given)ARGS("--listen="),
                 "--listen is empty; give HOST:PORT");
}

static void test_status(void **state)
{
    (void)state;
    struct options o;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(PARSE(OPTIONS_STATUS, &o, &err, ARGS("n1:7", "--json", "--rdzv-id=j")), 0);
    assert_int_equal(options_check(&o, &err), 0);
    assert_true(o.json);
    assert_string_equal(o.target_address.host, "n1");
    assert_int_equal(o.target_address.port, 7);
    assert_string_equal(o.status_rdzv_id, "j");
    assert_int_equal(o.timeout_ms, 5000);
    assert_fails(OPTIONS_STATUS, &(struct given)ARGS("a", "b"), "unexpected argument 'b'");
    assert_fails(OPTIONS_STATUS, &(struct given)ARGS("--json"),
                 "whose status? Give the coordinator's address as HOST:PORT");
    assert_fails(OPTIONS_STATUS, &(struct given)ARGS("n1:0"),
                 "'n1:0' names port 0, where nothing can be asked");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_short_options),
        cmocka_unit_test(test_the_script_ends_the_options),
        cmocka_unit_test(test_unknown_options),
        cmocka_unit_test(test_abbreviations),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_rdzv_conf),
        cmocka_unit_test(test_grace),
        cmocka_unit_test(test_what_torchrun_alone_can),
        cmocka_unit_test(test_missing_values),
        cmocka_unit_test(test_numbers_of_torchrun),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_environment_flags),
        cmocka_unit_test(test_origin_names),
        cmocka_unit_test(test_help_stops_everything),
        cmocka_unit_test(test_coordinator),
        cmocka_unit_test(test_standalone),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_serve),
        cmocka_unit_test(test_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
