/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load for a store: N connections, each with one operation under way, from several threads.
 *
 *     store_load --port P --pid PID --shape NAME [--server c10d|redis|bare] [--connections N]
 *                [--threads T] [--seconds S]
 *
 * PID is the server, whose CPU time is read (user + system, all threads) at the beginning and at
 * the end of the time that is measured. Prints one JSON object. The shape `connect` opens and
 * closes all connections again and again; an operation is a connection and its first answer.
 *
 * Where this runs under SCHED_FIFO, the thread that measures stands above those that load.
 */
#include "bench/store_loop.h"
#include "bench/store_peer.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>

enum { WARM_UP_MS = 200 };

struct config {
    struct loop_config loop;
    pid_t pid;
    double seconds;
};

struct result {
    double open_s; /* until all connections had their first answer */
    double seconds;
    double cpu_s; /* of the server in these seconds */
    uint64_t operations;
    struct stats_latencies latencies;
};

static void usage(void)
{
    fprintf(stderr, "store_load: see the head of bench/store_load.c\n");
    exit(2);
}

static enum shapes_server server_of(const char *name)
{
    if (strcmp(name, "redis") == 0) {
        return SHAPES_REDIS;
    }
    return strcmp(name, "bare") == 0 ? SHAPES_BARE : SHAPES_C10D;
}

static struct config parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"server", 1, NULL, 's'},      {"port", 1, NULL, 'p'},
        {"pid", 1, NULL, 'i'},         {"shape", 1, NULL, 'o'},
        {"connections", 1, NULL, 'c'}, {"threads", 1, NULL, 't'},
        {"seconds", 1, NULL, 'd'},     {0}};
    struct config c = {.loop = {.connections = 24, .threads = 1}, .seconds = 2};
    int opt;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 's':
            c.loop.server = server_of(optarg);
            break;
        case 'p':
            c.loop.port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'i':
            c.pid = (pid_t)strtol(optarg, NULL, 10);
            break;
        case 'o':
            c.loop.shape = shapes_find(optarg);
            break;
        case 'c':
            c.loop.connections = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            c.loop.threads = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            c.seconds = strtod(optarg, NULL);
            break;
        default:
            usage();
        }
    }
    if (c.loop.threads > c.loop.connections) {
        c.loop.threads = c.loop.connections;
    }
    if (c.loop.shape == NULL || !shapes_has(c.loop.shape, c.loop.server) || c.loop.port == 0 ||
        c.pid == 0 || c.loop.threads == 0 || c.seconds <= 0) {
        usage();
    }
    return c;
}

static void sleep_s(double s)
{
    struct timespec t = {.tv_sec = (time_t)s, .tv_nsec = (long)((s - (double)(time_t)s) * 1e9)};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

/* A connection of its own stores what is going to be read, and waits until it is there. */
static void prepare(const struct loop_config *config)
{
    struct mu_buf request = {0};
    size_t answer = shapes_hello(config->server, &request);
    int fd = peer_connect(config->port, 0);
    peer_send(fd, &request);
    peer_receive(fd, answer);
    request.len = 0;
    answer = shapes_prepare(config->shape, config->server, &request);
    peer_send(fd, &request);
    peer_receive(fd, answer);
    close(fd);
    mu_buf_fini(&request);
}

/* FIFO threads of equal rank do not interrupt each other: this one could not end the measurement.
 */
static void stand_above(void)
{
    struct sched_param param;
    if (sched_getscheduler(0) == SCHED_FIFO && sched_getparam(0, &param) == 0) {
        param.sched_priority++;
        sched_setscheduler(0, SCHED_FIFO, &param);
    }
}

/*
 * All connections of a barrier are answered together, thousands at once: what is measured begins
 * and ends when a turn does, or it would count one more or less by chance.
 */
static void await_turn(const struct config *c, const struct loops *loops)
{
    unsigned turns = loops_count_turns(loops);
    bool is_joint = c->loop.shape->step == SHAPES_BARRIER || c->loop.shape->step == SHAPES_MEET;
    while (is_joint && loops_count_turns(loops) == turns) {
        sleep_s(50e-6);
    }
}

static void run(const struct config *c, struct result *ret_result)
{
    int64_t begun = stats_now_ns();
    struct loops *loops = loops_start(&c->loop);
    stand_above();
    while (loops_count_opened(loops) < c->loop.connections) {
        sleep_s(100e-6);
    }
    ret_result->open_s = (double)(stats_now_ns() - begun) / 1e9;
    loops_enter(loops, LOOP_RUNNING);
    sleep_s(WARM_UP_MS * 1e-3);
    await_turn(c, loops);
    int64_t cpu = stats_cpu_ns(c->pid);
    begun = stats_now_ns();
    loops_enter(loops, LOOP_MEASURING);
    sleep_s(c->seconds);
    await_turn(c, loops);
    int64_t end = stats_now_ns();
    ret_result->cpu_s = (double)(stats_cpu_ns(c->pid) - cpu) / 1e9;
    loops_enter(loops, LOOP_OVER);
    ret_result->seconds = (double)(end - begun) / 1e9;
    ret_result->operations = loops_finish(loops, &ret_result->latencies);
}

int main(int argc, char **argv)
{
    static struct result result;
    struct config config = parse(argc, argv);
    peer_raise_file_limit();
    if (config.loop.server != SHAPES_BARE) {
        prepare(&config.loop);
    }
    run(&config, &result);
    if (result.operations == 0) {
        fprintf(stderr, "store_load: no operation ended in %.3f s\n", result.seconds);
        return 1;
    }
    double operations = (double)result.operations;
    printf("{\"shape\": \"%s\", \"connections\": %u, \"open_s\": %.6f, \"per_s\": %.1f, "
           "\"cpu_us\": %.4f, \"cpu_share\": %.4f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
           config.loop.shape->name, config.loop.connections, result.open_s,
           operations / result.seconds, result.cpu_s * 1e6 / operations,
           result.cpu_s / result.seconds, stats_percentile_us(&result.latencies, 0.5),
           stats_percentile_us(&result.latencies, 0.99));
    return 0;
}
