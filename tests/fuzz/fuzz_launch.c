/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --launch reads and writes. The first byte chooses: an order (what is decoded is encoded to
 * the same bytes), the words of --ssh-command (each is quoted for shells, or refused, and comes
 * back from its quotes), or what ssh said at its end (a sentence in one line).
 */
#include "launcher/launch_explain.h"
#include "launcher/launch_order.h"
#include "launcher/shell_words.h"

#include "muster/mem.h"
#include "tests/fuzz/fuzz_target.h"

#include <stdlib.h>
#include <string.h>

static void read_order(const uint8_t *data, size_t size)
{
    struct launch_order order;
    struct mu_buf frame = {0};
    struct mu_err err = MU_ERR_INIT;
    if (launch_order_decode(data, size, &order, &err) != 0) {
        MU_REQUIRE(err.code == MU_E_PROTOCOL);
        return;
    }
    MU_REQUIRE(launch_order_encode(&order, &frame, NULL) == 0);
    MU_REQUIRE(frame.len == size + LAUNCH_ORDER_HEADER &&
               memcmp(frame.data + LAUNCH_ORDER_HEADER, data, size) == 0);
    launch_order_fini(&order);
    mu_buf_fini(&frame);
}

static void read_words(const char *text)
{
    struct mu_err err = MU_ERR_INIT;
    size_t count = 0;
    char **words = shell_words_split(text, &count, &err);
    MU_REQUIRE(words != NULL || err.code == MU_E_USAGE);
    for (size_t i = 0; words != NULL && i < count; i++) {
        struct mu_buf quoted = {0};
        if (shell_words_quote(words[i], &quoted, NULL) == 0) {
            mu_autofree char *line = mu_buf_take_text(&quoted);
            size_t one = 0;
            char **again = shell_words_split(line, &one, NULL);
            MU_REQUIRE(again != NULL && one == 1 && strcmp(again[0], words[i]) == 0);
            shell_words_free(again);
        }
    }
    shell_words_free(words);
}

static void explain(const char *text, size_t size)
{
    const struct launch_end end = {.host = "h",
                                   .ssh = "ssh",
                                   .muster = "/m",
                                   .exit_status = size > 0 ? (unsigned char)text[0] : 0,
                                   .said = {.ptr = text, .len = size}};
    mu_autofree char *why = launch_explain(&end);
    MU_REQUIRE(strncmp(why, "h: ", 3) == 0 && strlen(why) < 1024 &&
               strpbrk(why, "\n\r\x1b") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    mu_autofree char *text = mu_strndup((const char *)data + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        read_order(data + 1, size - 1);
        break;
    case 1:
        read_words(text);
        break;
    default:
        explain((const char *)data + 1, size - 1);
        break;
    }
    return 0;
}
