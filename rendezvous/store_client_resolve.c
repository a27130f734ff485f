/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Name resolution with a deadline. getaddrinfo() has none: with a dead name server it blocks for
 * half a minute, whatever the caller's patience. So it runs in a thread of its own, which is left
 * behind when nobody waits for it any longer, and cleans up after itself.
 */
#include "muster/mem.h"
#include "rendezvous/store_client_io.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

struct lookup {
    atomic_int holders; /* who waits, who looks up: the last one frees */
    int done;           /* owned; eventfd, readable when the result is here */
    char *host;         /* owned */
    char service[8];
    int failure;                /* of getaddrinfo() */
    struct addrinfo *addresses; /* owned */
};

static void lookup_release(struct lookup *l)
{
    if (atomic_fetch_sub(&l->holders, 1) > 1) {
        return;
    }
    if (l->addresses != NULL) {
        freeaddrinfo(l->addresses);
    }
    close(l->done);
    free(l->host);
    free(l);
}

static int look_up(const char *host, const char *service, int flags, struct addrinfo **ret)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    return getaddrinfo(host, service, &hints, ret);
}

static void *lookup_main(void *arg)
{
    struct lookup *l = arg;
    l->failure = look_up(l->host, l->service, 0, &l->addresses);
    eventfd_write(l->done, 1);
    lookup_release(l);
    return NULL;
}

/* Start a thread that takes no signals: they are for the program's own threads. */
static int start_detached(void *(*run)(void *arg), void *arg)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&thread, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return failure;
}

static struct lookup *lookup_start(const char *host, const char *service, struct mu_err *err)
{
    struct lookup *l = mu_alloc(sizeof(*l));
    atomic_init(&l->holders, 2);
    l->host = mu_strdup(host);
    snprintf(l->service, sizeof(l->service), "%s", service);
    l->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failure = l->done < 0 ? errno : start_detached(lookup_main, l);
    if (failure == 0) {
        return l;
    }
    mu_err_set(err, MU_E_CONNECT, failure, "resolve: start a look-up");
    atomic_store(&l->holders, 1);
    lookup_release(l);
    return NULL;
}

struct addrinfo *store_io_resolve(const char *host, uint16_t port, struct store_io_limit *limit,
                                  struct mu_err *err)
{
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo *addresses = NULL;
    if (look_up(host, service, AI_NUMERICHOST, &addresses) == 0) {
        return addresses; /* no name server was asked */
    }
    struct lookup *l = lookup_start(host, service, err);
    if (l == NULL) {
        return NULL;
    }
    eventfd_t unused;
    if (store_io_wait(l->done, POLLIN, limit) != 0 || eventfd_read(l->done, &unused) != 0) {
        if (limit->is_canceled) {
            mu_err_set(err, MU_E_CANCELED, 0, "resolve: cancelled");
        } else {
            mu_err_set(err, MU_E_CONNECT, errno, "resolve: no answer");
        }
    } else if (l->failure != 0) {
        mu_err_set(err, MU_E_CONNECT, 0, "resolve: %s", gai_strerror(l->failure));
    } else {
        addresses = l->addresses;
        l->addresses = NULL;
    }
    lookup_release(l);
    return addresses;
}
