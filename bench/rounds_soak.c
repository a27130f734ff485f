/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One coordinator, thousands of rounds: nothing that it holds grows.
 *
 *     rounds_soak --port P --pid PID [--rounds N] [--agents N]
 *
 * PID is `muster serve` on port P of 127.0.0.1. Every round the agents meet, some of their workers
 * connect to the round's store and set keys, and it ends by a failure: of a worker, or, in every
 * LOSS_EVERY-th, of a node, which comes back as another. The store then closes its clients. The
 * server's memory and open descriptors are noted after a tenth of the rounds and after the last
 * one; the exit status is 1 if there are more descriptors, or more than GROWTH bytes of memory.
 */
#include "bench/crowd.h"
#include "bench/store_peer.h"
#include "bench/store_stats.h"
#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <sys/socket.h>

enum {
    CLIENTS = 4,
    LOSS_EVERY = 50,
    /*
     * A leak of 32 bytes in a round would make 288 KB of 9,000 rounds. The pids of workers of lost
     * nodes are remembered for two minutes: 180 losses of 2 workers, about 100 bytes each.
     */
    GROWTH = 128 * 1024,
    SETTLE_MS = 10 * 1000,
};

static struct {
    struct crowd_config crowd;
    pid_t pid;
    unsigned rounds;
} config = {
    .crowd = {.run_id = "soak", .agents = 8, .slots = 2, .max_restarts = MU_MAX_RESTARTS},
    .rounds = 10000,
};

static void parse(int argc, char **argv)
{
    static const struct option options[] = {{"agents", 1, NULL, 'a'},
                                            {"port", 1, NULL, 'p'},
                                            {"pid", 1, NULL, 'i'},
                                            {"rounds", 1, NULL, 'r'},
                                            {0}};
    int opt;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'a') {
            config.crowd.agents = (unsigned)strtoul(optarg, NULL, 10);
        } else if (opt == 'p') {
            config.crowd.port = (uint16_t)strtoul(optarg, NULL, 10);
        } else if (opt == 'i') {
            config.pid = (pid_t)strtol(optarg, NULL, 10);
        } else if (opt == 'r') {
            config.rounds = (unsigned)strtoul(optarg, NULL, 10);
        }
    }
    if (config.crowd.port == 0 || config.pid == 0 || config.crowd.agents < 2 ||
        config.rounds < 10 || config.rounds > MU_MAX_RESTARTS) {
        fprintf(stderr, "rounds_soak: see the head of bench/rounds_soak.c\n");
        exit(2);
    }
}

/* ---- what the server holds ---- */

struct held {
    double memory; /* bytes that are its own, not those of files */
    unsigned files;
};

static unsigned count_files(void)
{
    mu_autofree char *name = mu_asprintf("/proc/%d/fd", (int)config.pid);
    DIR *dir = opendir(name);
    if (dir == NULL) {
        peer_fail(name);
    }
    unsigned count = 0;
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

static struct held look(void)
{
    return (struct held){.memory = stats_memory(config.pid, "Anonymous:"), .files = count_files()};
}

/* ---- clients of a round's store ---- */

static void put_set(struct mu_buf *out, unsigned round, unsigned client)
{
    char key[48];
    snprintf(key, sizeof(key), "/round%u/client%u", round, client);
    mu_buf_append_u8(out, C10D_SET);
    c10d_put_str(out, mu_slice_of(key));
    c10d_put_str(out, mu_slice_of(key));
    mu_buf_append_u8(out, C10D_ADD);
    c10d_put_str(out, mu_slice_of("/here"));
    mu_buf_append_u64(out, 1);
}

/* As a worker of `agent`: says its pid, sets a key, adds to a counter; has both answers. */
static int open_client(const struct crowd *c, unsigned agent, unsigned round, unsigned client)
{
    struct mu_buf out = {0};
    int fd = peer_connect(config.crowd.port, round * CLIENTS + client);
    mu_buf_append_u8(&out, C10D_VALIDATE);
    mu_buf_append_u32(&out, C10D_MAGIC);
    mu_buf_append_u8(&out, C10D_PING);
    mu_buf_append_u32(&out, crowd_pid(c, agent, client % config.crowd.slots));
    put_set(&out, round, client);
    peer_send(fd, &out);
    mu_buf_fini(&out);
    uint8_t answer[sizeof(uint32_t) + sizeof(uint64_t)];
    if (recv(fd, answer, sizeof(answer), MSG_WAITALL) != sizeof(answer)) {
        peer_fail("the answer of a round's store");
    }
    struct mu_reader r = mu_reader_of(answer + sizeof(uint32_t), sizeof(uint64_t));
    if (mu_read_u64(&r) != client + 1) {
        fprintf(stderr, "rounds_soak: the store of round %u is not an empty one\n", round);
        exit(1);
    }
    return fd;
}

static void expect_closed(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    if (n > 0 || (n < 0 && errno != ECONNRESET)) {
        fprintf(stderr, "rounds_soak: the store of an ended round does not close its client\n");
        exit(1);
    }
    close(fd);
}

/* ---- rounds ---- */

static void all_but(struct crowd *c, unsigned agent, void (*say)(struct crowd *c, unsigned agent))
{
    for (unsigned i = 0; i < config.crowd.agents; i++) {
        if (i != agent) {
            say(c, i);
        }
    }
}

/* From the assignment of one round to that of the next. */
static void play(struct crowd *c, unsigned round)
{
    unsigned agents = config.crowd.agents;
    unsigned failing = round % agents;
    int clients[CLIENTS];
    all_but(c, agents, crowd_say_started);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = open_client(c, (round + i) % agents, round, i);
    }
    bool is_loss = round % LOSS_EVERY == 0;
    if (is_loss) {
        crowd_leave(c, failing);
        crowd_await(c, CTL_STOP, agents - 1);
        all_but(c, failing, crowd_say_stopped);
        crowd_join(c, failing);
        crowd_await(c, CTL_WELCOME, 1);
    } else {
        crowd_say_exited(c, failing, 1);
        crowd_await(c, CTL_STOP, agents);
        all_but(c, agents, crowd_say_stopped);
    }
    crowd_await(c, CTL_ASSIGN, agents);
    for (unsigned i = 0; i < CLIENTS; i++) {
        expect_closed(clients[i]);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    struct crowd *c = crowd_new(&config.crowd);
    struct held early = {0};
    int64_t begun = stats_now_ns();
    crowd_join_all(c);
    crowd_await(c, CTL_ASSIGN, config.crowd.agents);
    crowd_await(c, CTL_WELCOME, config.crowd.agents);
    for (unsigned round = 1; round <= config.rounds; round++) {
        play(c, round);
        if (round == config.rounds / 10) {
            early = look();
        }
    }
    double seconds = (double)(stats_now_ns() - begun) / 1e9;
    struct held late = look();
    /* What was closed last may be on its way. */
    for (int ms = 0; late.files > early.files && ms < SETTLE_MS; ms += 10) {
        usleep(10 * 1000);
        late = look();
    }
    printf("%u rounds of %u agents in %.1f s; memory %.0f KB after %u, %.0f KB at the end; "
           "descriptors %u, %u\n",
           config.rounds, config.crowd.agents, seconds, early.memory / 1024, config.rounds / 10,
           late.memory / 1024, early.files, late.files);
    crowd_free(c);
    return late.files > early.files || late.memory > early.memory + GROWTH;
}
