/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Agents meet at a coordinator, one of them fails, all stop and meet again.
 *
 *     rendezvous_load --agents N --port P --pid PID [--slots N] [--bare]
 *
 * Prints a line of JSON: seconds from the first connect() to the last ASSIGN, from EXITED to the
 * last STOP, from there with STOPPED of all to the last ASSIGN of the next round, of one beat of
 * everybody, of one status document; the CPU time that the server PID took for each, the bytes it
 * sent to an agent until that had its ASSIGN, and its memory for each agent. --bare: the server is
 * bare_meet, which knows no status.
 */
#include "bench/crowd.h"
#include "bench/store_peer.h"
#include "bench/store_stats.h"
#include "muster/limits.h"
#include "muster/mem.h"

#include <errno.h>
#include <getopt.h>
#include <sys/socket.h>

static struct {
    struct crowd_config crowd;
    pid_t pid;
    bool is_bare;
} config = {.crowd = {.run_id = "crowd", .slots = 8, .max_restarts = 3}};

static void parse(int argc, char **argv)
{
    static const struct option options[] = {{"agents", 1, NULL, 'a'}, {"port", 1, NULL, 'p'},
                                            {"pid", 1, NULL, 'i'},    {"slots", 1, NULL, 's'},
                                            {"bare", 0, NULL, 'b'},   {0}};
    int opt;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'a') {
            config.crowd.agents = (unsigned)strtoul(optarg, NULL, 10);
        } else if (opt == 'p') {
            config.crowd.port = (uint16_t)strtoul(optarg, NULL, 10);
        } else if (opt == 'i') {
            config.pid = (pid_t)strtol(optarg, NULL, 10);
        } else if (opt == 's') {
            config.crowd.slots = (unsigned)strtoul(optarg, NULL, 10);
        } else if (opt == 'b') {
            config.is_bare = true;
        }
    }
    if (config.crowd.port == 0 || config.pid == 0 || config.crowd.agents == 0) {
        fprintf(stderr, "rendezvous_load: see the head of bench/rendezvous_load.c\n");
        exit(2);
    }
}

/* ---- what is measured ---- */

struct span {
    int64_t begun_ns;
    int64_t cpu_ns;
};

static struct span begin(void)
{
    return (struct span){.cpu_ns = stats_cpu_ns(config.pid), .begun_ns = stats_now_ns()};
}

static void end(struct span s, const char *name)
{
    int64_t now = stats_now_ns();
    printf(", \"%s_s\": %.6f, \"%s_cpu_s\": %.6f", name, (double)(now - s.begun_ns) / 1e9, name,
           (double)(stats_cpu_ns(config.pid) - s.cpu_ns) / 1e9);
}

static void show_received(const struct crowd *c)
{
    uint64_t sum = 0;
    uint64_t most = 0;
    for (unsigned i = 0; i < config.crowd.agents; i++) {
        uint64_t n = crowd_look(c, i)->received;
        sum += n;
        most = n > most ? n : most;
    }
    printf(", \"sent\": %.1f, \"sent_most\": %u", (double)sum / config.crowd.agents,
           (unsigned)most);
}

static void measure_status(void)
{
    struct mu_buf out = {0};
    struct mu_buf in = {0};
    struct ctl_msg reply;
    size_t used = 0;
    struct mu_err err = MU_ERR_INIT;
    int fd = peer_connect(config.crowd.port, config.crowd.agents);
    struct span span = begin();
    ctl_preface_append(&out);
    ctl_msg_encode(&(struct ctl_msg){.type = CTL_STATUS}, &out);
    peer_send(fd, &out);
    while (ctl_msg_decode(in.data, in.len, MU_CTL_MAX_REPLY, &reply, &used, &err) == 0) {
        ssize_t n = recv(fd, mu_buf_reserve(&in, 1 << 20), 1 << 20, 0);
        if (n <= 0) {
            peer_fail("receive the status");
        }
        in.len += (size_t)n;
    }
    end(span, "status");
    printf(", \"status_bytes\": %zu", used);
    close(fd);
    mu_buf_fini(&in);
    mu_buf_fini(&out);
}

static void all_say(struct crowd *c, void (*say)(struct crowd *c, unsigned agent))
{
    for (unsigned i = 0; i < config.crowd.agents; i++) {
        say(c, i);
    }
}

static void say_alive(struct crowd *c, unsigned agent)
{
    crowd_say_alive(c, agent, 1);
}

/* Until the server has taken what was said to it: it answers in order, and uses no CPU time. */
static void settle(void)
{
    int64_t before;
    do {
        before = stats_cpu_ns(config.pid);
        usleep(20 * 1000);
    } while (stats_cpu_ns(config.pid) - before > INT64_C(1000000));
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    peer_raise_file_limit();
    unsigned agents = config.crowd.agents;
    struct crowd *c = crowd_new(&config.crowd);
    double empty = stats_memory(config.pid, "Pss:");
    printf("{\"agents\": %u", agents);

    struct span span = begin();
    crowd_join_all(c);
    crowd_await(c, CTL_ASSIGN, agents);
    end(span, "assign");
    show_received(c);
    all_say(c, crowd_say_started);
    settle();
    printf(", \"memory\": %.1f", (stats_memory(config.pid, "Pss:") - empty) / agents);

    span = begin();
    all_say(c, say_alive);
    settle();
    end(span, "beat");
    if (!config.is_bare) {
        measure_status();
    }

    span = begin();
    crowd_say_exited(c, agents / 2, 1);
    crowd_await(c, CTL_STOP, agents);
    end(span, "stop");
    span = begin();
    all_say(c, crowd_say_stopped);
    crowd_await(c, CTL_ASSIGN, agents);
    end(span, "again");
    printf("}\n");
    crowd_free(c);
    return 0;
}
