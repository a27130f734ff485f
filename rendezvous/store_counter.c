/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/store_counter.h"

int store_counter_parse(struct mu_slice text, int64_t *ret_number)
{
    size_t i = 0;
    while (i < text.len && (text.ptr[i] == ' ' || (text.ptr[i] >= '\t' && text.ptr[i] <= '\r'))) {
        i++;
    }
    bool is_negative = i < text.len && text.ptr[i] == '-';
    if (i < text.len && (text.ptr[i] == '-' || text.ptr[i] == '+')) {
        i++;
    }
    const uint64_t limit = is_negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    size_t first = i;
    uint64_t v = 0;
    for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        if (v > (limit - digit) / 10) {
            return -1;
        }
        v = v * 10 + digit;
    }
    if (i == first) {
        return -1;
    }
    *ret_number = (int64_t)(is_negative ? 0 - v : v);
    return 0;
}

struct mu_slice store_counter_format(int64_t number, char text[static STORE_COUNTER_SIZE])
{
    size_t at = STORE_COUNTER_SIZE;
    uint64_t v = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        text[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    if (number < 0) {
        text[--at] = '-';
    }
    return (struct mu_slice){.ptr = text + at, .len = STORE_COUNTER_SIZE - at};
}
