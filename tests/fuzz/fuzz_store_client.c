/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store client before a hostile server. store_client_io.c is replaced by what is below: what
 * the client receives is the input, which ends with the server closing or falling silent.
 *
 * The input: a byte of settings, then a byte for each call, each followed by what the server
 * answers to it. Whatever that is, the call must end, leave its results valid, and keep to the
 * limits.
 */
#include "muster/limits.h"
#include "muster/mem.h"
#include "muster/store_client.h"
#include "rendezvous/store_client_io.h"
#include "tests/fuzz/fuzz_target.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { VALUES = 3, PID_BYTES = 4 };

static struct mu_reader server;
static bool is_silent_at_end; /* else it closes */
static size_t handshake_left; /* bytes of the PING's answer that have not been read */
static int64_t clock_ms;

/* ---- the other store_client_io.c ---- */

int64_t store_io_now_ms(void)
{
    return clock_ms;
}

int store_io_connect(const char *host, uint16_t port, struct store_io_limit *limit,
                     struct mu_err *err)
{
    (void)host;
    (void)port;
    (void)limit;
    (void)err;
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

int store_io_send(int fd, const void *data, size_t len, struct store_io_limit *limit,
                  struct mu_err *err)
{
    (void)limit;
    MU_REQUIRE(fd >= 0 && len > 0 && data != NULL);
    if (server.failed && !is_silent_at_end) {
        return mu_err_set(err, MU_E_LOST, 0, "send");
    }
    return 0;
}

int store_io_recv(int fd, void *data, size_t len, struct store_io_limit *limit, struct mu_err *err)
{
    int64_t deadline_ms = limit->deadline_ms;
    MU_REQUIRE(fd >= 0 && len <= MU_STORE_MAX_REPLY);
    if (handshake_left > 0) {
        uint32_t pid = htole32((uint32_t)getpid());
        MU_REQUIRE(len == PID_BYTES);
        memcpy(data, &pid, PID_BYTES);
        handshake_left = 0;
        return 0;
    }
    struct mu_slice bytes = mu_read_bytes(&server, len);
    if (server.failed) {
        clock_ms = deadline_ms > clock_ms && is_silent_at_end ? deadline_ms : clock_ms;
        return is_silent_at_end ? mu_err_set(err, MU_E_TIMEOUT, 0, "receive")
                                : mu_err_set(err, MU_E_LOST, 0, "the server closed");
    }
    if (len > 0) {
        memcpy(data, bytes.ptr, len);
    }
    return 0;
}

void store_io_pause(int64_t ms, struct store_io_limit *limit)
{
    int64_t left_ms = limit->deadline_ms - clock_ms;
    clock_ms += ms < left_ms ? ms : left_ms;
}

/* ---- calls ---- */

static const char *const keys[VALUES] = {"a", "", "another key"};

/* A call that reads a string, or several; results are the caller's, whatever happened. */
static int call_for_strings(struct store_conn *c, uint8_t choice, struct mu_err *err)
{
    struct mu_buf got[VALUES] = {0};
    struct mu_slice value = mu_slice_of("value");
    size_t count = 0;
    bool is_taken = false;
    int rc;
    switch (choice % 6) {
    case 0:
        rc = store_conn_get(c, keys[0], &got[0], err);
        break;
    case 1:
        rc = store_conn_compare_set(c, keys[1], value, value, &got[0], err);
        break;
    case 2:
        rc = store_conn_multi_get(c, keys, VALUES, got, err);
        break;
    case 3:
        rc = store_conn_queue_pop(c, keys[2], &got[0], err);
        break;
    case 4:
        rc = store_conn_queue_try_pop(c, keys[2], &is_taken, &got[0], err);
        break;
    default:
        rc = store_conn_list_keys(c, &got[0], &count, err);
        MU_REQUIRE(rc != 0 || count <= got[0].len);
        for (size_t i = 0, at = 0; rc == 0 && i < count; i++) {
            at += strlen((const char *)got[0].data + at) + 1;
            MU_REQUIRE(at <= got[0].len);
        }
        break;
    }
    for (size_t i = 0; i < VALUES; i++) {
        MU_REQUIRE(got[i].len <= got[i].cap && got[i].len <= 2 * MU_STORE_MAX_REPLY);
        mu_buf_fini(&got[i]);
    }
    return rc;
}

static int call(struct store_conn *c, uint8_t choice, struct mu_err *err)
{
    struct mu_slice value = mu_slice_of("value");
    int64_t number = 0;
    bool is_there = false;
    switch (choice % 16) {
    case 0:
        return store_conn_set(c, keys[0], value, err);
    case 1:
        return store_conn_add(c, keys[0], 1, &number, err);
    case 2:
        return store_conn_wait(c, keys, VALUES, 10, err);
    case 3:
        return store_conn_check(c, keys, VALUES, &is_there, err);
    case 4:
        return store_conn_append(c, keys[0], value, err);
    case 5:
        return store_conn_delete(c, keys[1], &is_there, err);
    case 6:
        return store_conn_num_keys(c, &number, err);
    case 7:
        return store_conn_multi_set(c, keys, (struct mu_slice[VALUES]){value, value, value}, VALUES,
                                    err);
    case 8:
        return store_conn_barrier(c, keys[0], 2, err);
    case 9:
        return store_conn_queue_len(c, keys[0], &number, err);
    default:
        return call_for_strings(c, choice / 16, err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    server = mu_reader_of(data, size);
    uint8_t settings = mu_read_u8(&server);
    is_silent_at_end = settings % 2 == 1;
    handshake_left = settings % 16 < 14 ? PID_BYTES : 0; /* else the input answers it */
    struct mu_err err = MU_ERR_INIT;
    struct store_conn *c = store_conn_open("h", 1, settings % 4 < 2 ? "p" : NULL, 1000, &err);
    MU_REQUIRE((c == NULL) == (err.code != MU_E_NONE));
    while (c != NULL && mu_reader_left(&server) > 0 && !server.failed) {
        err = (struct mu_err)MU_ERR_INIT;
        int rc = call(c, mu_read_u8(&server), &err);
        MU_REQUIRE((rc == 0) == (err.code == MU_E_NONE));
        if (rc != 0 && err.code != MU_E_TIMEOUT && err.code != MU_E_CANCELED) {
            /* Out of step: nothing it says counts any more. */
            err = (struct mu_err)MU_ERR_INIT;
            MU_REQUIRE(store_conn_set(c, keys[0], mu_slice_of(""), &err) == -1);
            MU_REQUIRE(err.code == MU_E_LOST);
            break;
        }
    }
    store_conn_close(c);
    return 0;
}
