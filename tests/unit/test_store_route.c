/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which store a client gets. Effects are read as text: "ask A1 r3 pid 70 port 4000", "c1 to A",
 * "c1 to shared", "c1 closed".
 */
#include "muster/buf.h"
#include "muster/mem.h"
#include "rendezvous/store_route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct store_route *r;
static struct store_route_job *jobs[2];
static char names[2][2] = {"A", "B"};
static int64_t now;
static struct mu_buf did;
static struct mu_buf whys;
static uint64_t tokens[64]; /* of the questions so far */
static size_t token_count;

static int setup(void **state)
{
    (void)state;
    r = store_route_new(42);
    jobs[0] = store_route_job_new(r, names[0]);
    jobs[1] = store_route_job_new(r, names[1]);
    now = 1000;
    token_count = 0;
    return 0;
}

static void over(int job)
{
    store_route_round_over(r, jobs[job], now);
}

static int teardown(void **state)
{
    (void)state;
    over(0);
    over(1);
    while (store_route_take(r) != NULL) {
    }
    assert_int_equal(store_route_held(r), 0);
    store_route_job_free(r, jobs[0]);
    store_route_job_free(r, jobs[1]);
    store_route_free(r);
    mu_buf_fini(&did);
    mu_buf_fini(&whys);
    return 0;
}

static void describe(const struct store_route_effect *e)
{
    mu_buf_printf(&did, "%s", did.len > 0 ? "; " : "");
    switch (e->kind) {
    case STORE_ROUTE_ASK:
        assert_true(token_count < MU_COUNT(tokens));
        tokens[token_count++] = e->whose.token;
        mu_buf_printf(&did, "ask %s%u r%u pid %u port %u", (const char *)e->job, e->node,
                      e->whose.round, e->whose.pid, e->whose.port);
        break;
    case STORE_ROUTE_TO_JOB:
        mu_buf_printf(&did, "%s to %s", (const char *)e->client, (const char *)e->job);
        break;
    case STORE_ROUTE_TO_SHARED:
        mu_buf_printf(&did, "%s to shared", (const char *)e->client);
        break;
    case STORE_ROUTE_CLOSE:
        mu_buf_printf(&did, "%s closed", (const char *)e->client);
        break;
    }
    mu_buf_printf(&whys, "%s\n", e->why != NULL ? e->why : "");
}

static void expect(const char *what)
{
    did.len = 0;
    whys.len = 0;
    const struct store_route_effect *e;
    while ((e = store_route_take(r)) != NULL) {
        describe(e);
    }
    mu_buf_append_u8(&did, 0);
    mu_buf_append_u8(&whys, 0);
    assert_string_equal((const char *)did.data, what);
}

static void place(int job, uint32_t node, const char *address)
{
    store_route_place(r, jobs[job], 1, node, address);
}

/* Two workers. */
static void started(int job, uint32_t node, uint32_t pid)
{
    uint32_t pids[2] = {pid, pid + 1}; /* little-endian as on the wire */
    struct ctl_started msg = {.round = 1, .pids = {.ptr = (char *)pids, .len = sizeof(pids)}};
    store_route_started(r, jobs[job], node, &msg, now);
}

static struct store_route_client *greet(const char *name, const char *address)
{
    return store_route_hold(r, (void *)(uintptr_t)name, address, 4000, now);
}

static struct store_route_client *client(const char *name, const char *address, uint32_t pid)
{
    struct store_route_client *c = greet(name, address);
    store_route_named(r, c, pid, now);
    return c;
}

static void answer(int job, uint32_t node, size_t which, enum ctl_owned_answer a)
{
    struct ctl_owned msg = {.token = tokens[which], .answer = (uint8_t)a};
    store_route_answered(r, jobs[job], node, &msg);
}

static void exited(int job, uint32_t node, uint32_t local_rank)
{
    store_route_exited(r, jobs[job], node,
                       &(struct ctl_exited){.round = 1, .local_rank = local_rank});
}

static void pass(int64_t ms)
{
    now += ms;
    store_route_tick(r, now);
}

/* ---- what a client says ---- */

static void test_greeting(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0, 0xCE, 0xF7, 0x85, 0x3C, 13, 0x39, 0x30, 0, 0, 1};
    uint32_t pid = 0;
    for (size_t len = 1; len < 5; len++) {
        assert_int_equal(store_route_read(bytes, len, &pid), STORE_ROUTE_MORE);
    }
    for (size_t len = 5; len < 10; len++) {
        assert_int_equal(store_route_read(bytes, len, &pid), STORE_ROUTE_SILENT);
    }
    assert_int_equal(pid, 0);
    for (size_t len = 10; len <= sizeof(bytes); len++) {
        assert_int_equal(store_route_read(bytes, len, &pid), STORE_ROUTE_NAMED);
        assert_int_equal(pid, 12345);
    }
    static const uint8_t set[] = {0, 0xCE, 0xF7, 0x85, 0x3C, 1};
    assert_int_equal(store_route_read(set, sizeof(set), &pid), STORE_ROUTE_UNNAMED);
    static const uint8_t nobody[] = {0, 0xCE, 0xF7, 0x85, 0x3C, 13, 0, 0, 0, 0};
    assert_int_equal(store_route_read(nobody, sizeof(nobody), &pid), STORE_ROUTE_UNNAMED);
    static const uint8_t magic[] = {0, 0xCE, 0xF7, 0x85, 0x3D};
    assert_int_equal(store_route_read(magic, sizeof(magic), &pid), STORE_ROUTE_INVALID);
}

/* ---- workers ---- */

static void test_address_with_and_without_jobs(void **state)
{
    (void)state;
    assert_false(store_route_is_known(r, "n1"));
    place(0, 0, "n1");
    assert_true(store_route_is_known(r, "n1"));
    assert_false(store_route_is_known(r, "n2"));
    assert_int_equal(store_route_deadline(r), INT64_MAX);
    over(0);
    assert_false(store_route_is_known(r, "n1"));
}

static void test_workers_are_known_by_pid(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(1, 0, "n1");
    place(1, 1, "n2");
    started(0, 0, 70);
    started(1, 0, 80);
    started(1, 1, 70);
    client("c1", "n1", 70);
    client("c2", "n1", 81);
    client("c3", "n2", 70); /* the same pid on another machine */
    expect("c1 to A; c2 to B; c3 to B");
    assert_int_equal(store_route_held(r), 0);
}

/* Its connection is faster than the news of it. */
static void test_client_before_started(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(1, 0, "n1");
    client("c1", "n1", 70);
    client("c2", "n1", 71);
    client("c3", "n1", 80);
    client("c4", "n1", 99);
    expect("");
    started(0, 0, 70);
    expect("c1 to A; c2 to A");
    started(1, 0, 80);
    expect("c3 to B; ask A0 r1 pid 99 port 4000; ask B0 r1 pid 99 port 4000");
    answer(0, 0, 0, CTL_OWNED_NO);
    expect("");
    answer(1, 0, 1, CTL_OWNED_NO);
    expect("c4 to shared");
}

/* A node that hangs in exec() keeps nobody waiting for long. */
static void test_started_does_not_come(void **state)
{
    (void)state;
    place(0, 0, "n1");
    client("c1", "n1", 70);
    assert_int_equal(store_route_deadline(r), now + STORE_ROUTE_WAITING_MS);
    pass(STORE_ROUTE_WAITING_MS - 1);
    expect("");
    pass(1);
    expect("ask A0 r1 pid 70 port 4000");
    started(0, 0, 70);
    expect("c1 to A");
    answer(0, 0, 0, CTL_OWNED_NO); /* late, of a client that is gone from here */
    expect("");
}

static void test_started_of_another_round(void **state)
{
    (void)state;
    place(0, 0, "n1");
    uint32_t pids[1] = {70};
    struct ctl_started old = {.round = 7, .pids = {.ptr = (char *)pids, .len = sizeof(pids)}};
    store_route_started(r, jobs[0], 0, &old, now);
    store_route_started(r, jobs[0], 5, &old, now); /* nor of a node without a part */
    client("c1", "n1", 70);
    expect("");
    started(0, 0, 70);
    started(0, 0, 90); /* said twice: the first counts */
    client("c2", "n1", 90);
    expect("c1 to A; ask A0 r1 pid 90 port 4000");
}

/* Fire and forget, then exit: the news of that may be faster. */
static void test_last_words_of_a_worker(void **state)
{
    (void)state;
    place(0, 0, "n1");
    started(0, 0, 70);
    exited(0, 0, 0);
    exited(0, 0, 9);
    client("c1", "n1", 70);
    expect("ask A0 r1 pid 70 port 4000");
    answer(0, 0, 0, CTL_OWNED_UNSEEN);
    expect("c1 to A");
}

/* ---- agents ---- */

static void test_descendant_of_a_worker(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(1, 0, "n1");
    started(0, 0, 70);
    started(1, 0, 80);
    client("c1", "n1", 75);
    client("c2", "n1", 85);
    expect("ask A0 r1 pid 75 port 4000; ask B0 r1 pid 75 port 4000; "
           "ask A0 r1 pid 85 port 4000; ask B0 r1 pid 85 port 4000");
    answer(0, 0, 0, CTL_OWNED_SOCKET); /* proof: nobody else need answer */
    expect("c1 to A");
    answer(1, 0, 1, CTL_OWNED_NO);
    answer(1, 0, 3, CTL_OWNED_PID); /* not quite: wait for the others */
    expect("");
    answer(0, 0, 2, CTL_OWNED_UNSEEN);
    expect("c2 to B");
}

/* Containers with one address: a pid says nothing, a socket does. */
static void test_pid_in_two_jobs(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(1, 0, "n1");
    started(0, 0, 70);
    started(1, 0, 70);
    client("c1", "n1", 70);
    expect("ask A0 r1 pid 70 port 4000; ask B0 r1 pid 70 port 4000");
    answer(0, 0, 0, CTL_OWNED_PID);
    answer(1, 0, 1, CTL_OWNED_SOCKET);
    expect("c1 to B");
    client("c2", "n1", 71);
    expect("ask A0 r1 pid 71 port 4000; ask B0 r1 pid 71 port 4000");
    answer(1, 0, 3, CTL_OWNED_PID);
    answer(0, 0, 2, CTL_OWNED_PID);
    expect("c2 to B");
    assert_non_null(strstr((const char *)whys.data, "the newer one"));
}

static void test_same_job_twice_at_one_address(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(0, 1, "n1");
    started(0, 0, 70);
    started(0, 1, 70);
    client("c1", "n1", 70);
    expect("c1 to A");
}

static void test_agent_that_does_not_answer(void **state)
{
    (void)state;
    place(0, 0, "n1");
    started(0, 0, 70);
    client("c1", "n1", 99);
    expect("ask A0 r1 pid 99 port 4000");
    pass(STORE_ROUTE_ASKED_MS - 1);
    expect("");
    pass(1);
    expect("c1 closed");
    answer(0, 0, 0, CTL_OWNED_SOCKET); /* too late */
    expect("");
}

/* An agent answers what it was not asked, or with a number that is none. */
static void test_wild_answers(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(1, 0, "n1");
    started(0, 0, 70);
    started(1, 0, 80);
    client("c1", "n1", 99);
    expect("ask A0 r1 pid 99 port 4000; ask B0 r1 pid 99 port 4000");
    answer(0, 0, 1, CTL_OWNED_SOCKET);
    answer(0, 7, 0, CTL_OWNED_SOCKET);
    expect("");
    answer(0, 0, 0, (enum ctl_owned_answer)200);
    answer(0, 0, 0, CTL_OWNED_SOCKET);
    answer(1, 0, 1, CTL_OWNED_NO);
    expect("c1 to shared");
}

/* ---- clients that do not say who they are ---- */

static void test_without_ping(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(1, 0, "n1");
    started(0, 0, 70);
    started(1, 0, 80);
    client("c1", "n1", 0);
    client("c2", "n1", 0);
    client("c3", "n1", 0);
    client("c4", "n1", 0);
    store_route_take(r);
    while (store_route_take(r) != NULL) {
    }
    uint64_t first = 1;
    for (size_t i = 0; i < 8; i++) {
        tokens[i] = first + i;
    }
    answer(0, 0, 0, CTL_OWNED_SOCKET);
    expect("c1 to A");
    answer(0, 0, 2, CTL_OWNED_NO);
    answer(1, 0, 3, CTL_OWNED_NO);
    expect("c2 to shared");
    answer(0, 0, 4, CTL_OWNED_UNSEEN);
    answer(1, 0, 5, CTL_OWNED_UNSEEN);
    expect("c3 to B"); /* by the address: the newest */
    answer(1, 0, 7, CTL_OWNED_NO);
    expect("");
    pass(STORE_ROUTE_ASKED_MS);
    expect("c4 to A"); /* the only one who might */
}

/* VALIDATE, and nothing: a client before torch 2.5 that is not used yet. */
static void test_silent_client(void **state)
{
    (void)state;
    place(0, 0, "n1");
    started(0, 0, 70);
    struct store_route_client *c = greet("c1", "n1");
    expect("");
    assert_int_equal(store_route_deadline(r), now + STORE_ROUTE_GREETING_MS);
    pass(STORE_ROUTE_GREETING_MS);
    expect("ask A0 r1 pid 0 port 4000");
    assert_true(store_route_named(r, c, 70, now)); /* now it does say it */
    expect("");
    answer(0, 0, 0, CTL_OWNED_SOCKET);
    expect("c1 to A");
}

static void test_too_much_to_keep(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(1, 0, "n1");
    started(0, 0, 70);
    started(1, 0, 80);
    struct store_route_client *c = client("c1", "n1", 0);
    expect("ask A0 r1 pid 0 port 4000; ask B0 r1 pid 0 port 4000");
    answer(1, 0, 1, CTL_OWNED_NO);
    store_route_settle(r, c);
    expect("c1 to A");
    c = greet("c2", "n1");
    store_route_settle(r, c);
    expect("c2 to B");
    c = client("c3", "n1", 99); /* says its pid and does not wait for the answer */
    expect("ask A0 r1 pid 99 port 4000; ask B0 r1 pid 99 port 4000");
    store_route_settle(r, c);
    expect("c3 closed");
}

/* ---- rounds and nodes that end ---- */

static void test_round_ends_while_clients_wait(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(1, 0, "n1");
    started(1, 0, 80);
    greet("c1", "n1");
    client("c2", "n1", 75); /* waits for STARTED */
    struct store_route_client *c3 = client("c3", "n1", 0);
    expect("ask A0 r1 pid 0 port 4000; ask B0 r1 pid 0 port 4000");
    answer(0, 0, 0, CTL_OWNED_UNSEEN); /* it may be A's, whose round now ends */
    over(0);
    expect("ask B0 r1 pid 75 port 4000");
    answer(1, 0, 2, CTL_OWNED_NO);
    expect("c2 closed");
    answer(1, 0, 1, CTL_OWNED_NO);
    expect("c3 closed");
    (void)c3;
    pass(STORE_ROUTE_GREETING_MS);
    expect("ask B0 r1 pid 0 port 4000");
    answer(1, 0, 3, CTL_OWNED_NO);
    expect("c1 closed");
    client("c4", "n1", 75); /* it comes again */
    expect("ask B0 r1 pid 75 port 4000");
    answer(1, 0, 4, CTL_OWNED_NO);
    expect("c4 to shared");
}

static void test_round_ends_with_claims(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(1, 0, "n1");
    started(0, 0, 70);
    started(1, 0, 80);
    client("c1", "n1", 75);
    expect("ask A0 r1 pid 75 port 4000; ask B0 r1 pid 75 port 4000");
    answer(0, 0, 0, CTL_OWNED_PID);
    over(0); /* it cannot go there any more */
    expect("");
    answer(1, 0, 1, CTL_OWNED_NO);
    expect("c1 closed");
}

static void test_only_job_ends(void **state)
{
    (void)state;
    place(0, 0, "n1");
    started(0, 0, 70);
    client("c1", "n1", 75);
    expect("ask A0 r1 pid 75 port 4000");
    over(0);
    expect("c1 closed");
    assert_false(store_route_is_known(r, "n1"));
}

/* A node cut off from its coordinator: its workers go on until it has noticed. */
static void test_workers_of_a_lost_node(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(0, 1, "n2");
    started(0, 0, 70);
    started(0, 1, 70);
    exited(0, 0, 1);
    client("c1", "n1", 75);
    expect("ask A0 r1 pid 75 port 4000");
    store_route_lost(r, jobs[0], 0, now);
    store_route_lost(r, jobs[0], 0, now);
    expect("c1 closed");
    client("c2", "n1", 70); /* its round is not over yet */
    client("c3", "n1", 75);
    expect("c2 to A; c3 closed");
    over(0);
    assert_false(store_route_is_known(r, "n2")); /* that one stopped its workers, and said so */
    assert_true(store_route_is_known(r, "n1"));
    client("c4", "n1", 70);
    client("c5", "n1", 71); /* it had exited */
    expect("c4 closed; c5 to shared");
    /* the next round, with a worker of the same pid */
    place(0, 2, "n1");
    started(0, 2, 70);
    client("c6", "n1", 70);
    expect("c6 to A");
    pass(STORE_ROUTE_FORMER_MS);
    over(0);
    assert_false(store_route_is_known(r, "n1"));
}

static void test_lost_before_started(void **state)
{
    (void)state;
    place(0, 0, "n1");
    place(1, 0, "n1");
    started(1, 0, 80);
    client("c1", "n1", 75);
    expect("");
    store_route_lost(r, jobs[0], 0, now);
    expect("ask B0 r1 pid 75 port 4000");
    answer(1, 0, 0, CTL_OWNED_NO);
    expect("c1 closed"); /* it may be one of those who never were announced */
}

static void test_clients_that_hang_up(void **state)
{
    (void)state;
    place(0, 0, "n1");
    started(0, 0, 70);
    store_route_forget(r, greet("c1", "n1"));
    struct store_route_client *c = client("c2", "n1", 75);
    expect("ask A0 r1 pid 75 port 4000");
    store_route_forget(r, c);
    answer(0, 0, 0, CTL_OWNED_SOCKET);
    expect("");
    assert_int_equal(store_route_held(r), 0);
}

static void test_too_many(void **state)
{
    (void)state;
    place(0, 0, "n1");
    static struct store_route_client *held[STORE_ROUTE_MAX_HELD];
    for (uint32_t i = 0; i < STORE_ROUTE_MAX_HELD; i++) {
        held[i] = client("c1", "n1", 1000 + i);
        assert_non_null(held[i]);
    }
    assert_null(greet("c2", "n1"));
    expect("");
    for (uint32_t i = 0; i < STORE_ROUTE_MAX_HELD; i++) {
        store_route_forget(r, held[i]);
    }
    assert_int_equal(store_route_deadline(r), INT64_MAX);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting),
        TEST(test_address_with_and_without_jobs),
        TEST(test_workers_are_known_by_pid),
        TEST(test_client_before_started),
        TEST(test_started_does_not_come),
        TEST(test_started_of_another_round),
        TEST(test_last_words_of_a_worker),
        TEST(test_descendant_of_a_worker),
        TEST(test_pid_in_two_jobs),
        TEST(test_same_job_twice_at_one_address),
        TEST(test_agent_that_does_not_answer),
        TEST(test_wild_answers),
        TEST(test_without_ping),
        TEST(test_silent_client),
        TEST(test_too_much_to_keep),
        TEST(test_round_ends_while_clients_wait),
        TEST(test_round_ends_with_claims),
        TEST(test_only_job_ends),
        TEST(test_workers_of_a_lost_node),
        TEST(test_lost_before_started),
        TEST(test_clients_that_hang_up),
        TEST(test_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
