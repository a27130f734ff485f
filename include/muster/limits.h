/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every limit on what a peer, a file or a user can make grow, in one place.
 */
#pragma once

#include <stdint.h>

/* The port everything arrives on, unless told otherwise. */
enum { MU_DEFAULT_PORT = 29500 };

/* A job. */
enum {
    MU_MAX_NODES = 65536,      /* members of one job, spares included */
    MU_MAX_LOCAL_WORLD = 1024, /* workers of one node */
    MU_MAX_JOBS = 256,         /* jobs one coordinator knows, ended ones included */
    MU_MAX_NAME = 255,         /* bytes of a node name, run id, role, address */
    MU_MAX_RESTARTS = 1000000,
    MU_MAX_ROUND = 1 << 30,       /* of a round a peer speaks of */
    MU_MIN_NODE_TIMEOUT_MS = 100, /* heartbeats are sent five times as often */
};

/* The longest time span a peer may name: sums of a few do not overflow. Options allow ten years. */
#define MU_MAX_SPAN_MS INT64_C(400000000000)

/* Control protocol. */
enum {
    MU_CTL_MAX_FRAME = 64 * 1024,        /* bytes of one frame sent by an agent */
    MU_CTL_MAX_REPLY = 64 * 1024 * 1024, /* bytes of a status reply, checked by the client */
    MU_CTL_MAX_TEXT = 8 * 1024,          /* bytes of a message text or of a stderr tail */
};

/* Connections. */
enum {
    MU_PREFACE_TIMEOUT_MS = 10 * 1000,     /* a peer says what it speaks by then, or is dropped */
    MU_MAX_HELD_BYTES = 16 * 1024,         /* of a c10d client whose store is not known yet */
    MU_CONN_WRITE_HIGH = 64 * 1024 * 1024, /* unsent bytes at which a peer is dropped */
};

/* c10d store: the values of PyTorch's own server (tcp store, libuv backend). */
enum {
    MU_STORE_MAX_KEY = 8192,
    MU_STORE_MAX_VALUE = 8 * 1024 * 1024,
    MU_STORE_MAX_KEYS_PER_QUERY = 131072,
    MU_STORE_MAX_REQUEST = 64 * 1024 * 1024,  /* one whole request, ours: bounds a multi_set */
    MU_STORE_MAX_REPLY = 64 * 1024 * 1024,    /* memory of one connection's unread replies, ours */
    MU_STORE_MAX_ANSWER = 1024 * 1024 * 1024, /* one whole answer, that our client takes */
    MU_STORE_UNREAD_HIGH = 1024 * 1024,       /* of them, when its requests are left unread too */
};

/* What is kept of a worker's stderr for the failure report. */
enum {
    MU_STDERR_TAIL = 64 * 1024,
    MU_STDERR_TRACE = 16 * 1024, /* of a traceback further up */
    MU_REPORT_TAIL = 4 * 1024,
    MU_REPORT_TAIL_LINES = 12,
};

/*
 * What a report keeps of the cause. JSON needs two bytes for a byte at most, since control bytes
 * are not kept: with two tails, a message and two paths the document still fits into a frame.
 */
enum {
    MU_REPORT_SENTENCE = 512,
    MU_REPORT_HINT = 256,
    MU_REPORT_PATH = 1024,
    MU_REPORT_EVENTS = 12 * 1024, /* of the document */
    MU_REPORT_MAX = 48 * 1024,
};
