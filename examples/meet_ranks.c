/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's client in one page; the manual muster_store_client(3) shows this file.
 *
 *     muster run --nproc-per-node 4 --no-python meet_ranks
 *
 * Rank 0 says where to meet, the others hear it, and all leave together; SIGTERM ends a wait.
 */
#include "muster/store_client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct store_cancel *cancel; /* set before there is a handler */

static void on_sigterm(int number)
{
    (void)number;
    store_cancel_raise(cancel);
}

static int meet(struct store_conn *store, long rank, long world_size, struct mu_err *err)
{
    if (rank == 0 && store_conn_set(store, "where", mu_slice_of("at the fountain"), err) != 0) {
        return -1;
    }
    struct mu_buf where = {0};
    if (store_conn_get(store, "where", &where, err) != 0) { /* waits until it is there */
        return -1;
    }
    printf("rank %ld: meet %.*s\n", rank, (int)where.len, (const char *)where.data);
    mu_buf_fini(&where);
    return store_conn_barrier(store, "met", world_size, err);
}

int main(void)
{
    const char *host = getenv("MASTER_ADDR");
    const char *port = getenv("MASTER_PORT");
    const char *rank = getenv("RANK");
    const char *world_size = getenv("WORLD_SIZE");
    const char *attempt = getenv("TORCHELASTIC_RESTART_COUNT");
    if (host == NULL || port == NULL || rank == NULL || world_size == NULL || attempt == NULL) {
        fprintf(stderr, "meet_ranks: start it with muster run\n");
        return 2;
    }
    struct mu_err err = MU_ERR_INIT;
    cancel = store_cancel_new(&err);
    if (cancel == NULL) {
        fprintf(stderr, "meet_ranks: %s\n", err.text);
        return 1;
    }
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_sigterm}, NULL);
    char prefix[64]; /* keys of the attempt before are still there */
    snprintf(prefix, sizeof(prefix), "meet_ranks/%s", attempt);
    struct store_conn *store = store_conn_open_cancelable(
        host, (unsigned short)strtoul(port, NULL, 10), prefix, 60000, cancel, &err);
    int rc = -1;
    if (store != NULL) {
        rc = meet(store, strtol(rank, NULL, 10), strtol(world_size, NULL, 10), &err);
    }
    if (rc != 0) {
        fprintf(stderr, "meet_ranks: rank %s: %s\n", rank, err.text);
    }
    store_conn_close(store);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = SIG_DFL},
              NULL); /* nobody raises it any longer */
    store_cancel_free(cancel);
    return rc == 0 ? 0 : 1;
}
