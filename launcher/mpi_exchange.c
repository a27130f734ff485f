/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/mpi_exchange.h"

#include "muster/addr.h"
#include "muster/lines.h"
#include "muster/names.h"
#include "muster/num.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct reading {
    struct mu_slice rest;
    unsigned taken; /* lines */
    unsigned line;  /* the one that was looked at last, from 1 */
    struct mpi_exchange *x;
    struct mu_err *err;
};

static int fail(const struct reading *r, const char *wanted)
{
    return mu_err_set(r->err, MU_E_PROTOCOL, 0, "line %u of its answer is not %s", r->line, wanted);
}

/* The value of the next line if that is "NAME VALUE"; it stays the next one if not. */
static bool take_value(struct reading *r, const char *name, char value[MU_MAX_NAME + 1])
{
    struct mu_slice rest = r->rest;
    struct mu_slice line;
    size_t len = strlen(name);
    r->line = r->taken + 1;
    if (!lines_next(&rest, &line) || line.len < len + 2 || line.len > len + 1 + MU_MAX_NAME ||
        memcmp(line.ptr, name, len) != 0 || line.ptr[len] != ' ' ||
        memchr(line.ptr, '\0', line.len) != NULL) {
        return false;
    }
    snprintf(value, MU_MAX_NAME + 1, "%.*s", (int)(line.len - len - 1), line.ptr + len + 1);
    r->rest = rest;
    r->taken++;
    return true;
}

static int take_number(struct reading *r, const char *name, int64_t min, int64_t max,
                       uint32_t *ret_value)
{
    char value[MU_MAX_NAME + 1];
    int64_t number;
    if (!take_value(r, name, value) || mu_parse_int(value, min, max, &number, NULL) != 0) {
        return fail(r, name);
    }
    *ret_value = (uint32_t)number;
    return 0;
}

static int take_addresses(struct reading *r)
{
    struct mpi_exchange *x = r->x;
    struct sockaddr_storage addr;
    char value[MU_MAX_NAME + 1];
    while (take_value(r, "address", value)) {
        if (mu_addr_from_numeric(value, 1, &addr) != 0) {
            return fail(r, "a numeric address");
        }
        if (x->address_count < MPI_EXCHANGE_ADDRESSES) {
            memcpy(x->addresses[x->address_count++], value, sizeof(value));
        }
    }
    return x->address_count > 0 ? 0 : fail(r, "an address of rank 0");
}

static int take_hosts(struct reading *r)
{
    char value[MU_MAX_NAME + 1];
    for (uint32_t i = 0; i < r->x->size; i++) {
        if (!take_value(r, "host", value) || !mu_names_is_presentable(mu_slice_of(value))) {
            return fail(r, "a host name");
        }
        hostlist_add(&r->x->hosts, value, strlen(value));
    }
    return 0;
}

int mpi_exchange_parse(struct mu_slice text, struct mpi_exchange *ret_exchange, struct mu_err *err)
{
    struct mpi_exchange x = {0};
    struct reading r = {.rest = text, .x = &x, .err = err};
    struct mu_slice line;
    uint32_t format;
    int rc = take_number(&r, "muster-mpi", 1, 1, &format);
    rc = rc != 0 ? rc : take_number(&r, "rank", 0, MU_MAX_NODES - 1, &x.rank);
    rc = rc != 0 ? rc : take_number(&r, "size", (int64_t)x.rank + 1, MU_MAX_NODES, &x.size);
    rc = rc != 0 ? rc : take_addresses(&r);
    rc = rc != 0 ? rc : take_hosts(&r);
    if (rc == 0 && (!lines_next(&r.rest, &line) || !mu_slice_eq(line, mu_slice_of("end")) ||
                    r.rest.len != 0)) {
        r.line = r.taken + 1;
        rc = fail(&r, "the end");
    }
    if (rc != 0) {
        mpi_exchange_fini(&x);
        return -1;
    }
    *ret_exchange = x;
    return 0;
}

void mpi_exchange_fini(struct mpi_exchange *exchange)
{
    hostlist_fini(&exchange->hosts);
}
