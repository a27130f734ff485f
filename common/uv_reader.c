/* SPDX-License-Identifier: Apache-2.0 */
#include "common/uv_reader.h"

#include "muster/mem.h"

#include <errno.h>
#include <sys/epoll.h>

enum {
    EVENTS = 256,
    FEW = 32,
    ROUNDS = 8, /* of so many events, before the rest of the loop has its turn */
    AHEAD = 2,  /* connections whose memory is fetched before they are served */
};

struct uv_reader {
    uv_poll_t poll;
    int epoll;
    size_t watched;
    struct uv_reader *next;
};

/* One for each loop; a process rarely has more than one. */
static struct uv_reader *readers;

static void fetch(const struct uv_readable *r)
{
    __builtin_prefetch(r);
    __builtin_prefetch((const char *)r + 64);
}

static void serve(const struct epoll_event *events, int count)
{
    for (int i = 0; i < count && i < AHEAD; i++) {
        fetch(events[i].data.ptr);
    }
    for (int i = 0; i < count; i++) {
        if (i + AHEAD < count) {
            fetch(events[i + AHEAD].data.ptr);
        }
        struct uv_readable *r = events[i].data.ptr;
        if (r->reader != NULL) { /* one served before it may have ended it */
            r->ready(r, (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
        }
    }
}

static void on_poll(uv_poll_t *poll, int status, int what)
{
    const struct uv_reader *reader = poll->data;
    (void)status;
    (void)what;
    int count = EVENTS;
    /* Few under load: more have come meanwhile, and asking here costs less than a turn of the loop.
     */
    for (int round = 0; round < ROUNDS && (count == EVENTS || (count > 0 && count < FEW));
         round++) {
        struct epoll_event events[EVENTS];
        count = epoll_wait(reader->epoll, events, EVENTS, 0);
        serve(events, count);
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void reader_close(struct uv_reader *reader)
{
    struct uv_reader **link = &readers;
    while (*link != reader) {
        link = &(*link)->next;
    }
    *link = reader->next;
    uv_poll_stop(&reader->poll);
    close(reader->epoll);
    uv_close((uv_handle_t *)&reader->poll, on_closed);
}

static struct uv_reader *reader_new(uv_loop_t *loop)
{
    struct uv_reader *reader = mu_alloc(sizeof(*reader));
    reader->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (reader->epoll < 0 || uv_poll_init(loop, &reader->poll, reader->epoll) != 0) {
        if (reader->epoll >= 0) {
            close(reader->epoll);
        }
        free(reader);
        return NULL;
    }
    reader->poll.data = reader;
    uv_poll_start(&reader->poll, UV_READABLE, on_poll);
    reader->next = readers;
    readers = reader;
    return reader;
}

int uv_reader_watch(uv_loop_t *loop, struct uv_readable *r)
{
    struct uv_reader *reader = readers;
    while (reader != NULL && reader->poll.loop != loop) {
        reader = reader->next;
    }
    if (reader == NULL && (reader = reader_new(loop)) == NULL) {
        return UV_EMFILE;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = r};
    if (epoll_ctl(reader->epoll, EPOLL_CTL_ADD, r->fd, &event) != 0) {
        int rc = -errno;
        if (reader->watched == 0) {
            reader_close(reader);
        }
        return rc;
    }
    reader->watched++;
    r->reader = reader;
    return 0;
}

void uv_reader_again(struct uv_readable *r)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = r};
    epoll_ctl(r->reader->epoll, EPOLL_CTL_MOD, r->fd, &event);
}

void uv_reader_forget(struct uv_readable *r)
{
    struct uv_reader *reader = r->reader;
    if (reader == NULL) {
        return;
    }
    r->reader = NULL;
    /* Closing a descriptor would do it, if no child process has a copy. */
    epoll_ctl(reader->epoll, EPOLL_CTL_DEL, r->fd, NULL);
    if (--reader->watched == 0) {
        reader_close(reader);
    }
}
