/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/rand.h"

#include "muster/mem.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

void mu_rand_bytes(void *data, size_t len)
{
    uint8_t *p = data;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        MU_REQUIRE(n > 0);
        p += n;
        len -= (size_t)n;
    }
}

void mu_rand_name(char *text, size_t len)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    enum { LETTERS = sizeof(alphabet) - 1 };

    size_t filled = 0;
    while (filled < len) {
        uint8_t byte;
        mu_rand_bytes(&byte, sizeof(byte));
        if (byte < 256 / LETTERS * LETTERS) { /* the rest would favour the first letters */
            text[filled++] = alphabet[byte % LETTERS];
        }
    }
    text[len] = '\0';
}

void mu_rand_uuid(char text[MU_RAND_UUID_SIZE])
{
    uint8_t b[16];
    mu_rand_bytes(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 9562, 5.4: version 4 */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* 4.1: the variant */
    snprintf(text, MU_RAND_UUID_SIZE,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}
