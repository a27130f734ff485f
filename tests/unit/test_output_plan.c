/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/output_plan.h"

#include "launcher/options_check.h"
#include "launcher/options_parse.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct given {
    const char *words[8];
    const char *dir;
    const char *prefix_env;
    bool is_leashed;
};

static void parse(const struct given *given, struct options *opts)
{
    static char *argv[16];
    static char *envp[2];
    int argc = 0;
    argv[argc++] = (char *)(uintptr_t) "run";
    for (size_t i = 0; given->words[i] != NULL; i++) {
        argv[argc++] = (char *)(uintptr_t)given->words[i];
    }
    argv[argc++] = (char *)(uintptr_t) "--nproc-per-node=3";
    argv[argc++] = (char *)(uintptr_t) "x.py";
    argv[argc] = NULL;
    envp[0] = (char *)(uintptr_t)given->prefix_env;
    struct mu_err err = MU_ERR_INIT;
    if (options_parse(opts, OPTIONS_RUN, argc, argv, envp, &err) != 0 ||
        options_check(opts, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

/* One letter a stream, output and error of each of three workers: i(nherited), f(ile), n(owhere),
 * c(aptured: console), q(uietly captured), t(ee). */
static void assert_plan(const char *expected, const struct given *given)
{
    struct options opts;
    parse(given, &opts);
    opts.leash = given->is_leashed ? 3 : -1;
    const struct assignment assignment = {.first_rank = 4};
    struct output_plan plan;
    output_plan_init(&plan, &opts, &assignment, given->dir);
    assert_int_equal(plan.count, 3);
    char got[7] = "";
    for (size_t i = 0; i < 6; i++) {
        const struct output_stream *s = &plan.workers[i / 2].streams[i % 2];
        got[i] = "ifnc"[s->route];
        if (s->route == OUTPUT_CAPTURE) {
            got[i] = !s->is_on_console ? 'q' : s->has_prefix ? 't' : 'c';
        }
        assert_int_equal(s->is_by_line, given->is_leashed && (got[i] == 'c' || got[i] == 'q'));
        assert_int_equal(s->path != NULL, got[i] == 'f' || got[i] == 't');
        if (s->path != NULL) {
            char path[64];
            snprintf(path, sizeof(path), "%s/%zu/std%s.log", given->dir, i / 2,
                     i % 2 == 0 ? "out" : "err");
            assert_string_equal(s->path, path);
        }
    }
    assert_string_equal(got, expected);
    output_plan_fini(&plan);
}
#define ASSERT_PLAN(expected, ...) assert_plan(expected, &(struct given)__VA_ARGS__)

static void every_combination(void **state)
{
    (void)state;
    ASSERT_PLAN("icicic", {.words = {NULL}, .dir = "/d"});
    ASSERT_PLAN("fcfcfc", {.words = {"-r", "1"}, .dir = "/d"});
    ASSERT_PLAN("ififif", {.words = {"-r2"}, .dir = "/d"});
    ASSERT_PLAN("tttttt", {.words = {"--tee=3"}, .dir = "/d"});
    ASSERT_PLAN("fcifit", {.words = {"-r", "0:1,1:2,2:2", "-t", "2:2"}, .dir = "/d"});
    ASSERT_PLAN("tftftf", {.words = {"-r", "3", "-t", "1"}, .dir = "/d"});
    /* The filter: a tee becomes a redirect, what is not redirected is not heard. */
    ASSERT_PLAN("nqicnq", {.words = {"--local-ranks-filter", "1"}, .dir = "/d"});
    ASSERT_PLAN("ffttff", {.words = {"-t3", "--local-ranks-filter", "1,17"}, .dir = "/d"});
    ASSERT_PLAN("fqfcfq", {.words = {"-r1", "--local-ranks-filter", "1"}, .dir = "/d"});
    /* No directory, no files. */
    ASSERT_PLAN("icicic", {.words = {"-r3", "-t3"}, .dir = NULL});
    ASSERT_PLAN("nqicnq", {.words = {"-r3", "-t3", "--local-ranks-filter", "1"}, .dir = NULL});
}

static void assert_prefix(const char *expected, const struct given *given)
{
    struct options opts;
    parse(given, &opts);
    opts.leash = given->is_leashed ? 3 : -1;
    const struct assignment assignment = {.first_rank = 4};
    struct output_plan plan;
    output_plan_init(&plan, &opts, &assignment, "/d");
    assert_string_equal(plan.workers[1].prefix, expected);
    output_plan_fini(&plan);
}
#define ASSERT_PREFIX(expected, ...) assert_prefix(expected, &(struct given)__VA_ARGS__)

static void prefixes(void **state)
{
    (void)state;
    ASSERT_PREFIX("[default1]:", {.words = {"-t3"}});
    ASSERT_PREFIX("[trainer1]:", {.words = {"-t3", "--role=trainer"}});
    ASSERT_PREFIX("5/1 ", {.words = {"-t3", "--line-prefix", "$rank/${local_rank} "}});
    ASSERT_PREFIX("", {.words = {"-t3", "--line-prefix", ""}});
    ASSERT_PREFIX(
        "r5 ", {.words = {"-t3"}, .prefix_env = "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE=r$rank "});
    ASSERT_PREFIX("[default1]:",
                  {.words = {"-t3"}, .prefix_env = "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE="});
}

static void filters_have_files(void **state)
{
    (void)state;
    struct options opts;
    struct output_plan plan;
    const struct assignment assignment = {0};
    parse(&(struct given){.words = {"--duplicate-stderr-filters", "a,b",
                                    "--duplicate-stdout-filters", ""}},
          &opts);
    output_plan_init(&plan, &opts, &assignment, "/d");
    assert_null(plan.filtered_paths[0]);
    assert_string_equal(plan.filtered_paths[1], "/d/filtered_stderr.log");
    assert_string_equal(plan.filters[1], "a,b");
    output_plan_fini(&plan);
    output_plan_init(&plan, &opts, &assignment, NULL);
    assert_null(plan.filtered_paths[1]);
    output_plan_fini(&plan);
}

static void doubts_and_needs(void **state)
{
    (void)state;
    struct options opts;
    parse(&(struct given){.words = {"-t", "2:1"}}, &opts);
    assert_null(output_plan_doubt(&opts));
    assert_true(output_plan_may_capture_stdout(&opts));
    parse(&(struct given){.words = {"-t", "2:2,3:3"}}, &opts);
    assert_false(output_plan_may_capture_stdout(&opts));
    mu_autofree char *tee = output_plan_doubt(&opts);
    assert_non_null(strstr(tee, "--tee names local rank 3"));
    parse(&(struct given){.words = {"--local-ranks-filter", "11"}}, &opts);
    mu_autofree char *ranks = output_plan_doubt(&opts);
    assert_non_null(strstr(ranks, "--local-ranks-filter names local rank 11"));
}

/* At the end of a connection nothing is inherited, and lines stay whole. */
static void under_a_launcher(void **state)
{
    (void)state;
    ASSERT_PLAN("cccccc", {.words = {NULL}, .dir = "/d", .is_leashed = true});
    ASSERT_PLAN("fcfcfc", {.words = {"-r", "1"}, .dir = "/d", .is_leashed = true});
    ASSERT_PLAN("tctctc", {.words = {"-t", "1"}, .dir = "/d", .is_leashed = true});
    ASSERT_PLAN("nqccnq",
                {.words = {"--local-ranks-filter", "1"}, .dir = "/d", .is_leashed = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination), cmocka_unit_test(under_a_launcher),
        cmocka_unit_test(prefixes),          cmocka_unit_test(filters_have_files),
        cmocka_unit_test(doubts_and_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
