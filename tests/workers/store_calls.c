/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call of the store client against a server: what each returns is printed, one line each, so
 * that two servers can be compared.
 *
 *     store_calls HOST PORT           against an empty store
 *     store_calls HOST PORT PREFIX    meet PyTorch's client under that prefix, "" for none
 */
#include "muster/mem.h"
#include "muster/store_client.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sys/time.h>

enum { TIMEOUT_MS = 30000, SHORT_MS = 100 };

static struct store_cancel *cancel;
static struct store_conn *store;
static struct mu_err err;

static const char *const keys[] = {"a", "b"};
static const char *const absent[] = {"absent"};

static const char *outcome(int rc)
{
    static const char *const names[] = {[MU_E_NONE] = "none",
#define X(name, exit_status, text) [MU_E_##name] = #name,
                                        MU_ERR_CODES(X)
#undef X
    };
    return rc == 0 ? "ok" : names[err.code];
}

static void say(const char *call, int rc)
{
    printf("%s: %s\n", call, outcome(rc));
}

static void say_number(const char *call, int rc, int64_t number)
{
    printf("%s: %s %" PRId64 "\n", call, outcome(rc), rc == 0 ? number : -1);
}

static void say_value(const char *call, int rc, const struct mu_buf *v)
{
    printf("%s: %s %zu '%.*s'\n", call, outcome(rc), v->len, (int)(v->len < 40 ? v->len : 40),
           (const char *)v->data);
}

/* ---- one client ---- */

static void call_on_keys(void)
{
    struct mu_buf v = {0};
    int64_t n = 0;
    bool is_so = false;
    int rc;
    say("ping", store_conn_ping(store, &err));
    say("set a", store_conn_set(store, "a", mu_slice_of("one"), &err));
    say_value("get a", store_conn_get(store, "a", &v, &err), &v);
    say("set empty", store_conn_set(store, "empty", mu_slice_of(""), &err));
    say_value("get empty", store_conn_get(store, "empty", &v, &err), &v);
    say("append a", store_conn_append(store, "a", mu_slice_of("+two"), &err));
    say("append new", store_conn_append(store, "new", mu_slice_of("begun"), &err));
    say_value("get a", store_conn_get(store, "a", &v, &err), &v);
    rc = store_conn_add(store, "n", 5, &n, &err);
    say_number("add n 5", rc, n);
    rc = store_conn_add(store, "n", -7, &n, &err);
    say_number("add n -7", rc, n);
    say_value("get n", store_conn_get(store, "n", &v, &err), &v);
    const struct mu_slice none = mu_slice_of("");
    const struct mu_slice x = mu_slice_of("x");
    const struct mu_slice y = mu_slice_of("y");
    say_value("compare_set c, absent, x expected",
              store_conn_compare_set(store, "c", x, y, &v, &err), &v);
    say_value("compare_set c, absent, none expected",
              store_conn_compare_set(store, "c", none, x, &v, &err), &v);
    say_value("compare_set c, x, y expected", store_conn_compare_set(store, "c", y, y, &v, &err),
              &v);
    say_value("compare_set c, x, x expected", store_conn_compare_set(store, "c", x, y, &v, &err),
              &v);
    rc = store_conn_check(store, keys, 2, &is_so, &err);
    say_number("check a b", rc, is_so);
    const struct mu_slice values[] = {mu_slice_of("1"), mu_slice_of("22")};
    say("multi_set a b", store_conn_multi_set(store, keys, values, 2, &err));
    rc = store_conn_check(store, keys, 2, &is_so, &err);
    say_number("check a b", rc, is_so);
    struct mu_buf got[2] = {{0}};
    rc = store_conn_multi_get(store, keys, 2, got, &err);
    say_value("multi_get a", rc, &got[0]);
    say_value("multi_get b", rc, &got[1]);
    mu_buf_fini(&got[0]);
    mu_buf_fini(&got[1]);
    rc = store_conn_num_keys(store, &n, &err);
    say_number("num_keys", rc, n);
    rc = store_conn_delete(store, "empty", &is_so, &err);
    say_number("delete empty", rc, is_so);
    rc = store_conn_delete(store, "empty", &is_so, &err);
    say_number("delete empty", rc, is_so);
    mu_buf_fini(&v);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void call_list_keys(void)
{
    struct mu_buf v = {0};
    size_t count = 0;
    int rc = store_conn_list_keys(store, &v, &count, &err);
    say_number("list_keys", rc, (int64_t)count);
    const char **names = mu_calloc(count + 1, sizeof(*names));
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        names[i] = (const char *)v.data + at;
        at += strlen(names[i]) + 1;
    }
    qsort(names, count, sizeof(*names), compare_texts);
    for (size_t i = 0; i < count; i++) {
        printf("    %s\n", names[i]);
    }
    free(names);
    mu_buf_fini(&v);
}

static void call_on_queues(void)
{
    struct mu_buf v = {0};
    int64_t n = 0;
    bool is_taken = false;
    int rc = store_conn_queue_try_pop(store, "q", &is_taken, &v, &err);
    say_number("queue_try_pop, empty", rc, is_taken);
    say("queue_push one", store_conn_queue_push(store, "q", mu_slice_of("one"), &err));
    say("queue_push two", store_conn_queue_push(store, "q", mu_slice_of("two"), &err));
    rc = store_conn_queue_len(store, "q", &n, &err);
    say_number("queue_len", rc, n);
    say_value("queue_pop", store_conn_queue_pop(store, "q", &v, &err), &v);
    rc = store_conn_queue_try_pop(store, "q", &is_taken, &v, &err);
    say_number("queue_try_pop", rc, is_taken);
    say_value("    of", rc, &v);
    store_conn_set_timeout(store, SHORT_MS);
    say("queue_pop, empty", store_conn_queue_pop(store, "q", &v, &err));
    store_conn_set_timeout(store, TIMEOUT_MS);
    mu_buf_fini(&v);
}

/* ---- waiting, alone ---- */

static void on_alarm(int number)
{
    (void)number;
    store_cancel_raise(cancel);
}

static void raise_soon(void)
{
    const struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval timer = {.it_value.tv_usec = SHORT_MS * 1000L};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void give_up_waiting(void)
{
    struct mu_buf v = {0};
    int64_t n = 0;
    say("wait a b", store_conn_wait(store, keys, 2, -1, &err));
    say("wait a b, 0 ms", store_conn_wait(store, keys, 2, 0, &err));
    say("wait nothing", store_conn_wait(store, keys, 0, -1, &err));
    say("wait absent, 0 ms", store_conn_wait(store, absent, 1, 0, &err));
    say("wait absent", store_conn_wait(store, absent, 1, SHORT_MS, &err));
    store_conn_set_timeout(store, SHORT_MS);
    say("get absent", store_conn_get(store, "absent", &v, &err));
    say("barrier of 2, alone", store_conn_barrier(store, "alone", 2, &err));
    store_conn_set_timeout(store, TIMEOUT_MS);
    raise_soon();
    say("wait absent, cancelled", store_conn_wait(store, absent, 1, -1, &err));
    say("add, still cancelled", store_conn_add(store, "n", 1, &n, &err));
    store_cancel_clear(cancel);
    raise_soon();
    say("barrier of 3, cancelled", store_conn_barrier(store, "alone", 3, &err));
    store_cancel_clear(cancel);
    int rc = store_conn_add(store, "n", 100, &n, &err);
    say_number("add n 100", rc, n); /* still in step */
    mu_buf_fini(&v);
}

static void wait_in_a_loop(void)
{
    bool is_done = true;
    int rc = store_conn_wait_start(store, absent, 1, &err);
    say("wait_start absent", rc);
    rc = store_conn_wait_poll(store, &is_done, &err);
    say_number("wait_poll", rc, is_done);
    say("ping meanwhile", store_conn_ping(store, &err));
    rc = store_conn_wait_stop(store, &is_done, &err);
    say_number("wait_stop", rc, is_done);
    rc = store_conn_wait_start(store, keys, 2, &err);
    say("wait_start a b", rc);
    struct pollfd p = {.fd = store_conn_fd(store), .events = POLLIN};
    printf("poll: %d\n", poll(&p, 1, TIMEOUT_MS));
    rc = store_conn_wait_poll(store, &is_done, &err);
    say_number("wait_poll", rc, is_done);
}

/* ---- two clients ---- */

static void *be_the_other(void *arg)
{
    struct store_conn *other = arg;
    struct mu_buf v = {0};
    store_conn_set(other, "late", mu_slice_of("now"), NULL);
    store_conn_barrier(other, "both", 2, NULL);
    store_conn_queue_pop(other, "to-other", &v, NULL);
    store_conn_queue_push(other, "from-other",
                          (struct mu_slice){.ptr = (const char *)v.data, .len = v.len}, NULL);
    mu_buf_fini(&v);
    return NULL;
}

static void meet_another(void)
{
    struct mu_buf v = {0};
    struct store_conn *other = store_conn_clone(store, &err);
    say("clone", other != NULL ? 0 : -1);
    pthread_t thread;
    if (other == NULL || pthread_create(&thread, NULL, be_the_other, other) != 0) {
        return;
    }
    say_value("get late", store_conn_get(store, "late", &v, &err), &v);
    say("barrier of 2", store_conn_barrier(store, "both", 2, &err));
    say("queue_push", store_conn_queue_push(store, "to-other", mu_slice_of("ping"), &err));
    say_value("queue_pop", store_conn_queue_pop(store, "from-other", &v, &err), &v);
    pthread_join(thread, NULL);
    store_conn_close(other);
    mu_buf_fini(&v);
}

/* What is large does not fit into one segment, nor into a socket's buffer. */
static void call_with_much(void)
{
    enum { MUCH = 8 * 1024 * 1024, KEYS = 2000 };
    struct mu_buf v = {0};
    char *bytes = mu_alloc(MUCH);
    memset(bytes, 'x', MUCH);
    say("set large", store_conn_set(store, "large", (struct mu_slice){bytes, MUCH}, &err));
    say_value("get large", store_conn_get(store, "large", &v, &err), &v);
    say("set too large", store_conn_set(store, "large", (struct mu_slice){bytes, MUCH + 1}, &err));
    static char names[KEYS][16];
    static const char *many[KEYS];
    static struct mu_slice values[KEYS];
    static struct mu_buf got[KEYS];
    for (size_t i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof(names[i]), "many/%zu", i);
        many[i] = names[i];
        values[i] = (struct mu_slice){.ptr = names[i], .len = strlen(names[i])};
    }
    say("multi_set many", store_conn_multi_set(store, many, values, KEYS, &err));
    int rc = store_conn_multi_get(store, many, KEYS, got, &err);
    int64_t equal = 0;
    for (size_t i = 0; i < KEYS; i++) {
        equal += got[i].len == values[i].len && memcmp(got[i].data, names[i], got[i].len) == 0;
        mu_buf_fini(&got[i]);
    }
    say_number("multi_get many", rc, equal);
    mu_buf_fini(&v);
    free(bytes);
}

/* ---- PyTorch's client ---- */

static void meet_python(void)
{
    struct mu_buf v = {0};
    int64_t n = 0;
    say_value("get from python", store_conn_get(store, "from-python", &v, &err), &v);
    say("set from c", store_conn_set(store, "from-c", mu_slice_of("hello"), &err));
    say("barrier with python", store_conn_barrier(store, "met", 2, &err));
    say_value("queue_pop from python", store_conn_queue_pop(store, "queue", &v, &err), &v);
    say("add", store_conn_add(store, "sum", 40, &n, &err));
    say("barrier with python", store_conn_barrier(store, "added", 2, &err));
    mu_buf_fini(&v);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s HOST PORT [PREFIX]\n", argv[0]);
        return 2;
    }
    cancel = store_cancel_new(&err);
    uint16_t port = (uint16_t)strtoul(argv[2], NULL, 10);
    const char *prefix = argc > 3 && argv[3][0] != '\0' ? argv[3] : NULL;
    if (cancel != NULL) {
        store = store_conn_open_cancelable(argv[1], port, prefix, TIMEOUT_MS, cancel, &err);
    }
    if (store == NULL) {
        fprintf(stderr, "store_calls: %s\n", err.text);
        return 1;
    }
    if (argc > 3) {
        meet_python();
    } else {
        call_on_keys();
        call_list_keys();
        call_on_queues();
        give_up_waiting();
        wait_in_a_loop();
        meet_another();
        call_with_much();
    }
    store_conn_close(store);
    store_cancel_free(cancel);
    return 0;
}
