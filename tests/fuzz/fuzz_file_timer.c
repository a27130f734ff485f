/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever workers write to the pipe of file timers: in one piece or in many, the same timers are
 * set, within the limits; time passes, and every one of them expires, in order, once. The first
 * byte is the size of the pieces.
 */

#include "launcher/file_timer.h"
#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <string.h>

static void expire_all(struct file_timer *ft)
{
    int64_t last_ms = INT64_MIN;
    while (file_timer_count(ft) > 0) {
        int64_t at_ms = file_timer_deadline(ft);
        size_t before = file_timer_count(ft);
        struct file_timer_expiry e;
        MU_REQUIRE(at_ms >= last_ms && at_ms != INT64_MAX);
        MU_REQUIRE(!file_timer_expire(ft, at_ms - 1, &e));
        MU_REQUIRE(file_timer_expire(ft, at_ms, &e));
        MU_REQUIRE(file_timer_count(ft) < before);
        MU_REQUIRE(e.pid >= 1 && e.signo >= 0 && e.signo <= 64);
        MU_REQUIRE(strlen(e.scope) <= FILE_TIMER_MAX_SCOPE);
        last_ms = at_ms;
    }
    MU_REQUIRE(file_timer_deadline(ft) == INT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    size_t piece = (size_t)data[0] + 1;
    struct file_timer *whole = file_timer_new();
    struct file_timer *pieces = file_timer_new();
    file_timer_feed(whole, (const char *)data + 1, size - 1, 1000);
    for (size_t at = 1; at < size; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        file_timer_feed(pieces, (const char *)data + at, len, 1000);
    }
    MU_REQUIRE(file_timer_count(whole) <= FILE_TIMER_MAX);
    MU_REQUIRE(file_timer_count(whole) == file_timer_count(pieces));
    MU_REQUIRE(file_timer_rejected(whole) == file_timer_rejected(pieces));
    MU_REQUIRE(file_timer_deadline(whole) == file_timer_deadline(pieces));
    expire_all(whole);
    expire_all(pieces);
    file_timer_free(whole);
    file_timer_free(pieces);
    return 0;
}
