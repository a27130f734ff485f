/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pushes inputs through a fuzz target, without coverage and therefore fast. Input number i of a
 * seed is always the same one, whatever came before it.
 *
 *     soak_NAME [-n INPUTS] [-s SEED] [-f FIRST] [-o DIRECTORY]
 *
 * A finding ends the run: the input is written to DIRECTORY, and how to repeat it is printed.
 */
#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/soak.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    HANG_S = 60,       /* for one batch */
    BATCH = 1024,      /* inputs between two looks at the clock */
    REPORT_S = 60,     /* between two lines of progress */
    MAX_RSS_MB = 1024, /* hostile lengths must not cost memory */
};

const char *__asan_default_options(void);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static const char *program;
static const char *out_dir = ".";
static uint64_t seed = 1;
static uint64_t at;          /* the number of the input at hand */
static const uint8_t *input; /* its bytes; NULL between two */
static size_t input_len;

/*
 * A large quarantine makes every allocation touch memory the cache has forgotten; inputs are small,
 * so a small one still holds everything one of them frees.
 */
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=4:malloc_context_size=5:max_allocation_size_mb=256";
}

/* In a signal handler, or in a sanitizer's last moment: nothing that could need a lock or memory.
 */
static void report_finding(void)
{
    static volatile sig_atomic_t is_reported;
    if (input == NULL || is_reported) {
        return;
    }
    is_reported = 1;
    const char *name = strrchr(program, '/');
    name = name != NULL ? name + 1 : program;
    char path[512];
    snprintf(path, sizeof(path), "%s/%s-%" PRIu64 "-%" PRIu64, out_dir, name, seed, at);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, input, input_len) != (ssize_t)input_len) {
        dprintf(STDERR_FILENO, "%s: the input could not be written to %s\n", name, path);
    }
    const char *target = strncmp(name, "soak_", 5) == 0 ? name + 5 : name;
    dprintf(STDERR_FILENO,
            "\n%s: FINDING in input %" PRIu64 " of seed %" PRIu64 ", written to %s\n"
            "repeat it: %s -s %" PRIu64 " -f %" PRIu64 " -n 1\n"
            "replay it: %.*sreplay_fuzz_%s %s\n",
            name, at, seed, path, program, seed, at, (int)(name - program), program, target, path);
    dprintf(STDOUT_FILENO, "0 passed, 1 failed, 0 skipped\n");
}

static void on_signal(int signal_number)
{
    if (signal_number == SIGALRM) {
        dprintf(STDERR_FILENO, "%s: no end of it within %d s\n", program, HANG_S);
    }
    report_finding();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void catch_findings(void)
{
    /* A sanitizer's own handler of SIGSEGV prints more; it ends in the death callback. */
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(report_finding);
    } else {
        signal(SIGSEGV, on_signal);
        signal(SIGBUS, on_signal);
    }
    signal(SIGABRT, on_signal); /* MU_REQUIRE */
    signal(SIGALRM, on_signal);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static long max_rss_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static void progress(uint64_t done, uint64_t bytes, double seconds)
{
    printf("%s: %" PRIu64 " inputs (seed %" PRIu64 "), %" PRIu64 " %s, %.1f bytes each, %.0f s, "
           "%.0f inputs/s, %ld MiB\n",
           program, done, seed, fuzz_steps, soak_step_name, (double)bytes / (double)done, seconds,
           (double)done / (seconds > 0 ? seconds : 1), max_rss_mb());
    fflush(stdout);
}

/* Inputs first .. first+count-1 of the seed. */
static void soak(uint64_t first, uint64_t count)
{
    uint8_t *memory = mu_alloc(SOAK_MAX_INPUT);
    uint64_t bytes = 0;
    double begun = now_s();
    double reported = begun;
    for (uint64_t done = 0; done < count; done++) {
        if (done % BATCH == 0) {
            alarm(HANG_S);
            double now = now_s();
            if (now - reported >= REPORT_S) {
                progress(done, bytes, now - begun);
                reported = now;
            }
        }
        at = first + done;
        struct soak_rng rng = {.state = seed * 0xD1342543DE82EF95ULL};
        rng.state = soak_next(&rng) ^ at;
        rng.state = soak_next(&rng);
        input_len = soak_make(&rng, memory);
        /* At the end of the memory, where reading on is found. */
        uint8_t *start = memory + SOAK_MAX_INPUT - input_len;
        memmove(start, memory, input_len);
        input = start;
        LLVMFuzzerTestOneInput(input, input_len);
        MU_REQUIRE(done % BATCH != 0 || max_rss_mb() < MAX_RSS_MB);
        input = NULL;
        bytes += input_len;
    }
    alarm(0);
    progress(count, bytes, now_s() - begun);
    free(memory);
}

int main(int argc, char **argv)
{
    uint64_t count = soak_default_inputs;
    uint64_t first = 0;
    program = argv[0];
    int opt;
    while ((opt = getopt(argc, argv, "n:s:f:o:")) != -1) {
        switch (opt) {
        case 'n':
            count = strtoull(optarg, NULL, 10);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            first = strtoull(optarg, NULL, 10);
            break;
        case 'o':
            out_dir = optarg;
            break;
        default:
            return 2;
        }
    }
    if (count == 0 || optind != argc) {
        fprintf(stderr, "usage: %s [-n INPUTS] [-s SEED] [-f FIRST] [-o DIRECTORY]\n", program);
        return 2;
    }
    catch_findings();
    soak(first, count);
    printf("findings: none\n1 passed, 0 failed, 0 skipped\n");
    return 0;
}
