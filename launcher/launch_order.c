/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/launch_order.h"

#include "muster/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void put_text(struct mu_buf *out, const char *text)
{
    size_t len = strlen(text);
    mu_buf_append_u32(out, (uint32_t)len);
    mu_buf_append(out, text, len);
}

static void put_list(struct mu_buf *out, char *const *list)
{
    uint32_t count = 0;
    while (list[count] != NULL) {
        count++;
    }
    mu_buf_append_u32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        put_text(out, list[i]);
    }
}

static size_t size_of(char *const *list)
{
    size_t size = 4;
    for (; *list != NULL; list++) {
        size += 4 + strlen(*list);
    }
    return size;
}

int launch_order_encode(const struct launch_order *order, struct mu_buf *out, struct mu_err *err)
{
    size_t size = 4 + strlen(order->directory) + size_of(order->args) + size_of(order->env);
    if (size > LAUNCH_ORDER_MAX) {
        return mu_err_set(err, MU_E_LIMIT, 0,
                          "the arguments and the environment have %zu bytes; %d can be sent", size,
                          LAUNCH_ORDER_MAX);
    }
    mu_buf_append_u32(out, (uint32_t)size);
    put_text(out, order->directory);
    put_list(out, order->args);
    put_list(out, order->env);
    return 0;
}

int launch_order_length(const void *header, size_t *ret_len, struct mu_err *err)
{
    struct mu_reader r = mu_reader_of(header, LAUNCH_ORDER_HEADER);
    uint32_t len = mu_read_u32(&r);
    if (len == 0 || len > LAUNCH_ORDER_MAX) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "an order of %u bytes", len);
    }
    *ret_len = len;
    return 0;
}

/* NULL and a failed reader if it is no text. Owned by the caller. */
static char *take_text(struct mu_reader *r)
{
    struct mu_slice text = mu_read_bytes(r, mu_read_u32(r));
    if (r->failed || (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL)) {
        r->failed = true;
        return NULL;
    }
    return mu_slice_dup(text);
}

static char **take_list(struct mu_reader *r, size_t *ret_count)
{
    uint32_t count = mu_read_u32(r);
    if (r->failed || count > LAUNCH_ORDER_WORDS || count > mu_reader_left(r) / 4) {
        r->failed = true;
        count = 0;
    }
    char **list = mu_calloc((size_t)count + 1, sizeof(*list));
    for (uint32_t i = 0; i < count && !r->failed; i++) {
        list[i] = take_text(r);
    }
    *ret_count = count;
    return list;
}

/* "NAME=value" with a name. */
static bool are_variables(char *const *env)
{
    for (; *env != NULL; env++) {
        const char *sign = strchr(*env, '=');
        if (sign == NULL || sign == *env) {
            return false;
        }
    }
    return true;
}

int launch_order_decode(const void *data, size_t len, struct launch_order *ret_order,
                        struct mu_err *err)
{
    struct mu_reader r = mu_reader_of(data, len);
    struct launch_order order = {0};
    size_t env_count = 0;
    order.directory = take_text(&r);
    order.args = take_list(&r, &order.arg_count);
    order.env = take_list(&r, &env_count);
    if (r.failed || mu_reader_left(&r) > 0 || order.arg_count == 0 || !are_variables(order.env)) {
        launch_order_fini(&order);
        return mu_err_set(err, MU_E_PROTOCOL, 0, "an order that is none");
    }
    *ret_order = order;
    return 0;
}

static void free_list(char **list)
{
    for (char **item = list; item != NULL && *item != NULL; item++) {
        free(*item);
    }
    free(list);
}

void launch_order_fini(struct launch_order *order)
{
    free(order->directory);
    free_list(order->args);
    free_list(order->env);
    *order = (struct launch_order){0};
}
