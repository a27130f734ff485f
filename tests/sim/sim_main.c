/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's command line:
 *
 *     simulator               every story, then SIM_RUNS random jobs
 *     simulator --seed S      one random job, with its trace; if it fails, without the faults
 *                             that are not needed for that
 *     simulator --from S --runs N
 *                             N random jobs, of the seeds S, S+1, ...
 *     --agents N              random jobs of N nodes each
 *     simulator --story NAME  the trace of one story, as kept in tests/sim/golden/NAME.trace
 *
 * To be run in the root of the repository.
 */
#include "tests/sim/sim.h"

#include "muster/clock.h"
#include "muster/num.h"

#include <getopt.h>

enum { DEFAULT_RUNS = 10000, SHOWN_FAILURES = 10 };

static int64_t number(const char *text, int64_t fallback)
{
    int64_t v = fallback;
    struct mu_err err = MU_ERR_INIT;
    if (text != NULL && mu_parse_int(text, 0, INT64_MAX, &v, &err) != 0) {
        fprintf(stderr, "sim: %s\n", err.text);
        exit(2);
    }
    return v;
}

static unsigned run_random(int64_t from, int64_t runs, uint32_t nodes, unsigned *passed)
{
    unsigned failed = 0;
    int64_t begin_ms = mu_clock_ms();
    printf("seed %lld to %lld\n", (long long)from, (long long)(from + runs - 1));
    for (int64_t i = 0; i < runs && failed < SHOWN_FAILURES; i++) {
        if (sim_random_run((uint64_t)(from + i), nodes)) {
            ++*passed;
        } else {
            failed++;
        }
    }
    double seconds = (double)(mu_clock_ms() - begin_ms + 1) / 1e3;
    printf("%lld random jobs in %.1f s\n", (long long)runs, seconds);
    return failed;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},  {"from", required_argument, NULL, 'f'},
        {"runs", required_argument, NULL, 'r'},  {"agents", required_argument, NULL, 'a'},
        {"story", required_argument, NULL, 'n'}, {0}};
    int64_t from = 1;
    int64_t seed = -1;
    uint32_t nodes = 0;
    int64_t runs = number(getenv("SIM_RUNS"), DEFAULT_RUNS);
    bool has_stories = true;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            seed = number(optarg, 1);
            break;
        case 'a':
            nodes = (uint32_t)number(optarg, 0);
            has_stories = false;
            break;
        case 'f':
            from = number(optarg, 1);
            has_stories = false;
            break;
        case 'r':
            runs = number(optarg, DEFAULT_RUNS);
            break;
        case 'n':
            return sim_story_show(optarg) ? 0 : 1;
        default:
            return 2;
        }
    }
    if (seed >= 0) {
        printf("seed %lld\n", (long long)seed);
        return sim_random_show((uint64_t)seed, nodes) ? 0 : 1;
    }
    unsigned passed = 0;
    unsigned failed = 0;
    if (has_stories) {
        failed += sim_stories_run(&passed);
    }
    if (runs > 0) {
        failed += run_random(from, runs, nodes, &passed);
    }
    printf("%u passed, %u failed, 0 skipped\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
