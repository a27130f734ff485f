/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any command line, any environment: what follows from it for the output and the environment of the
 * workers can be planned or is refused. The first byte chooses the command; then lines, of which
 * those up to the first empty one are words, the rest "NAME=value".
 */
#include "launcher/options.h"

#include "launcher/options_check.h"
#include "launcher/options_parse.h"
#include "launcher/options_show.h"
#include "launcher/output_plan.h"
#include "launcher/signal_list.h"
#include "launcher/worker_env.h"
#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

enum { MAX_LINES = 64 };

static void check_values(const struct options *opts)
{
    for (enum options_id id = 0; id < OPTION_COUNT; id++) {
        const struct options_row *row = &options_table()[id];
        const void *field = (const char *)opts + row->offset;
        if (row->type == OPTIONS_INT && opts->origin[id] != OPTIONS_FROM_DEFAULT) {
            MU_REQUIRE(*(const int64_t *)field >= row->min && *(const int64_t *)field <= row->max);
        }
        if (row->type == OPTIONS_STRING && *(const char *const *)field != NULL && row->max > 0) {
            MU_REQUIRE(strlen(*(const char *const *)field) <= (size_t)row->max);
        }
    }
}

/* What local_world_resolve() would find. */
static void count_devices(struct options *opts)
{
    if (opts->nproc_per_node < 0) {
        opts->nproc_per_node = 2;
    }
}

/* Each sentence of a warning is a line of its own, and nothing but the known signals is heeded. */
static void read_signals(const struct options *opts)
{
    struct signal_list list;
    struct mu_buf warnings = {0};
    signal_list_parse("signals-to-handle", opts->signals_to_handle, &list, &warnings);
    MU_REQUIRE(warnings.len == 0 || warnings.data[warnings.len - 1] == '\n');
    MU_REQUIRE(!signal_list_has(&list, 9) && !signal_list_has(&list, 17));
    mu_buf_fini(&warnings);
}

/* Every limit is one that Linux has, is there once, and its soft limit can be set. */
static void read_limits(const struct options *opts)
{
    struct mu_buf warnings = {0};
    unsigned seen = 0;
    for (size_t i = 0; i < opts->limits.count; i++) {
        const struct limit_wish *wish = &opts->limits.wishes[i];
        unsigned bit = 1U << (unsigned)wish->resource;
        MU_REQUIRE(limit_list_name(wish->resource) != NULL && (seen & bit) == 0);
        MU_REQUIRE(limit_wish_soft(wish, 4096) <= 4096);
        MU_REQUIRE(limit_wish_soft(wish, 4096) == 4096 || !limit_wish_is_short(wish, 4096));
        seen |= bit;
    }
    limit_list_say_short(&opts->limits, &warnings);
    MU_REQUIRE(warnings.len == 0 || warnings.data[warnings.len - 1] == '\n');
    mu_buf_fini(&warnings);
}

static void plan_output(const struct options *opts, const char *dir)
{
    const struct assignment one = {.node_count = 1, .world_size = 1, .first_rank = 7};
    struct output_plan plan;
    output_plan_init(&plan, opts, &one, dir);
    MU_REQUIRE(plan.count == (size_t)opts->nproc_per_node);
    for (size_t i = 0; i < plan.count; i++) {
        const struct output_stream *out = &plan.workers[i].streams[0];
        const struct output_stream *err = &plan.workers[i].streams[1];
        MU_REQUIRE(out->route != OUTPUT_FILE || (dir != NULL && out->path != NULL));
        MU_REQUIRE(err->route != OUTPUT_INHERIT);
        MU_REQUIRE(!out->has_prefix || output_plan_may_capture_stdout(opts));
        MU_REQUIRE((!out->has_prefix && !err->has_prefix) || plan.workers[i].prefix != NULL);
    }
    output_plan_fini(&plan);
    free(output_plan_doubt(opts));
}

static void show(const struct options *opts)
{
    struct mu_buf text = {0};
    options_show(opts, &text);
    mu_buf_fini(&text);
}

static void build_workers(const struct options *opts, char *const *envp)
{
    const struct assignment one = {.node_count = 1, .world_size = 1};
    const struct worker_env_spec spec = {
        .opts = opts,
        .assignment = &one,
        .master_addr = "127.0.0.1",
        .master_port = 1,
        .parent_env = envp,
        .program = "/bin/true",
    };
    worker_env_free(worker_env_new(&spec));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum options_command commands[] = {OPTIONS_RUN, OPTIONS_SERVE, OPTIONS_STATUS,
                                                    OPTIONS_CHECK};
    if (size == 0) {
        return 0;
    }
    enum options_command command = commands[data[0] % MU_COUNT(commands)];
    mu_autofree char *text = mu_alloc(size);
    memcpy(text, data + 1, size - 1);

    static char name[] = "command";
    char *argv[MAX_LINES + 2] = {name};
    char *envp[MAX_LINES + 1] = {NULL};
    int argc = 1;
    int envc = 0;
    bool is_environment = false;
    for (char *p = text; *p != '\0';) {
        char *line = p;
        p += strcspn(p, "\n");
        if (*p != '\0') {
            *p++ = '\0';
        }
        if (!is_environment && line[0] == '\0') {
            is_environment = true;
        } else if (is_environment && envc < MAX_LINES) {
            envp[envc++] = line;
        } else if (!is_environment && argc <= MAX_LINES) {
            argv[argc++] = line;
        }
    }

    struct options opts;
    struct mu_err err = MU_ERR_INIT;
    int rc = options_parse(&opts, command, argc, argv, envp, &err);
    if (rc == 0 && !opts.help) {
        check_values(&opts);
        rc = options_check(&opts, &err);
        if (rc == 0) {
            read_limits(&opts);
        }
        if (rc == 0 && command == OPTIONS_RUN) {
            count_devices(&opts);
            read_signals(&opts);
            plan_output(&opts, "/d");
            plan_output(&opts, NULL);
            rc = worker_env_check(&opts, envp, &err);
        }
        if (rc == 0 && command == OPTIONS_RUN) {
            build_workers(&opts, envp);
        }
        if (rc == 0) {
            show(&opts);
        }
    }
    MU_REQUIRE((rc == 0) == (err.code == MU_E_NONE));
    MU_REQUIRE(rc == 0 || (err.code == MU_E_USAGE && err.text[0] != '\0'));
    return 0;
}
