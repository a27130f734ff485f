/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/output_plan.h"

#include "launcher/line_prefix.h"
#include "launcher/stream_map.h"
#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

static const char *const file_names[OUTPUT_STREAMS] = {"stdout.log", "stderr.log"};
static const char *const filtered_names[OUTPUT_STREAMS] = {"filtered_stdout.log",
                                                           "filtered_stderr.log"};

struct wishes {
    struct stream_map redirects;
    struct stream_map tee;
    struct rank_set heard;
    bool is_leashed; /* the console is a connection */
};

static int read_wishes(const struct options *opts, struct wishes *ret, struct mu_err *err)
{
    ret->is_leashed = opts->leash >= 0;
    bool is_good =
        stream_map_parse(opts->redirects, "--redirects", &ret->redirects, err) == 0 &&
        stream_map_parse(opts->tee, "--tee", &ret->tee, err) == 0 &&
        rank_set_parse(opts->local_ranks_filter, "--local-ranks-filter", &ret->heard, err) == 0;
    return is_good ? 0 : -1;
}

/* `stream` 0 or 1; the bits are those of torchrun's digits. */
static struct output_stream plan_stream(const struct wishes *wishes, uint32_t rank, int stream,
                                        const char *attempt_dir)
{
    unsigned bit = stream == 0 ? STREAM_OUT : STREAM_ERR;
    bool has_files = attempt_dir != NULL;
    bool is_heard = rank_set_has(&wishes->heard, rank);
    bool is_teed = has_files && (wishes->tee.bits[rank] & bit) != 0;
    bool is_redirected = is_teed || (has_files && (wishes->redirects.bits[rank] & bit) != 0);
    struct output_stream s = {0};
    if (is_teed && is_heard) {
        s.route = OUTPUT_CAPTURE;
        s.has_prefix = true;
        s.is_on_console = true;
    } else if (is_redirected) {
        s.route = OUTPUT_FILE;
    } else if (stream == 1 || (wishes->is_leashed && is_heard)) {
        s.route = OUTPUT_CAPTURE;
        s.is_on_console = is_heard;
        s.is_by_line = wishes->is_leashed;
    } else {
        s.route = is_heard ? OUTPUT_INHERIT : OUTPUT_NOWHERE;
    }
    if (is_redirected) {
        s.path = mu_asprintf("%s/%u/%s", attempt_dir, rank, file_names[stream]);
    }
    return s;
}

/* An empty template in torchrun's variable is none; on the command line it means no prefix. */
static const char *prefix_template(const struct options *opts)
{
    bool is_unset =
        opts->line_prefix == NULL ||
        (opts->line_prefix[0] == '\0' && opts->origin[OPTION_line_prefix] == OPTIONS_FROM_ALSO);
    return is_unset ? LINE_PREFIX_DEFAULT : opts->line_prefix;
}

void output_plan_init(struct output_plan *plan, const struct options *opts,
                      const struct assignment *assignment, const char *attempt_dir)
{
    struct wishes wishes;
    struct mu_err err = MU_ERR_INIT;
    MU_REQUIRE(read_wishes(opts, &wishes, &err) == 0); /* checked with all options */
    *plan = (struct output_plan){.count = (size_t)opts->nproc_per_node};
    plan->workers = mu_calloc(plan->count, sizeof(*plan->workers));
    for (uint32_t i = 0; i < plan->count; i++) {
        struct output_worker *w = &plan->workers[i];
        for (int k = 0; k < OUTPUT_STREAMS; k++) {
            w->streams[k] = plan_stream(&wishes, i, k, attempt_dir);
        }
        if (w->streams[0].has_prefix || w->streams[1].has_prefix) {
            struct line_prefix_names names = {
                .role_name = opts->role, .local_rank = i, .rank = assignment->first_rank + i};
            w->prefix = line_prefix_expand(prefix_template(opts), &names);
        }
    }
    const char *filters[OUTPUT_STREAMS] = {opts->duplicate_stdout_filters,
                                           opts->duplicate_stderr_filters};
    for (int k = 0; k < OUTPUT_STREAMS; k++) {
        /* As for torchrun, the file is there even if no stream is tee'd. */
        if (attempt_dir != NULL && filters[k] != NULL && filters[k][0] != '\0') {
            plan->filters[k] = filters[k];
            plan->filtered_paths[k] = mu_asprintf("%s/%s", attempt_dir, filtered_names[k]);
        }
    }
}

void output_plan_fini(struct output_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->workers[i].streams[0].path);
        free(plan->workers[i].streams[1].path);
        free(plan->workers[i].prefix);
    }
    free(plan->workers);
    free(plan->filtered_paths[0]);
    free(plan->filtered_paths[1]);
    *plan = (struct output_plan){0};
}

bool output_plan_may_capture_stdout(const struct options *opts)
{
    struct wishes wishes;
    struct mu_err err = MU_ERR_INIT;
    MU_REQUIRE(read_wishes(opts, &wishes, &err) == 0);
    bool is_any = wishes.is_leashed;
    for (size_t i = 0; i < (size_t)opts->nproc_per_node; i++) {
        is_any = is_any || (wishes.tee.bits[i] & STREAM_OUT) != 0;
    }
    return is_any;
}

int output_plan_check(const struct options *opts, struct mu_err *err)
{
    struct wishes wishes;
    return read_wishes(opts, &wishes, err);
}

char *output_plan_doubt(const struct options *opts)
{
    struct wishes wishes;
    struct mu_err err = MU_ERR_INIT;
    MU_REQUIRE(read_wishes(opts, &wishes, &err) == 0);
    const struct {
        const char *option;
        int32_t highest;
    } named[] = {{"--redirects", wishes.redirects.highest_named},
                 {"--tee", wishes.tee.highest_named},
                 {"--local-ranks-filter", wishes.heard.highest_named}};
    for (size_t i = 0; i < MU_COUNT(named); i++) {
        if (named[i].highest >= opts->nproc_per_node) {
            return mu_asprintf("%s names local rank %d, but local ranks go from 0 to %lld here: "
                               "nothing comes of it",
                               named[i].option, named[i].highest,
                               (long long)opts->nproc_per_node - 1);
        }
    }
    return NULL;
}
