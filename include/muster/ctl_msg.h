/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol between agents and the coordinator: messages and their encoding.
 *
 * On a connection the client first sends the preface, eight bytes:
 *     0x9d 'm' 's' 't'   magic; no other protocol on the port starts with 0x9d
 *     u16 version        CTL_VERSION
 *     u16 0              reserved
 * and then both sides send frames: u32 length of what follows, u8 type, fields. Integers are
 * little-endian. Specification: docs/PROTOCOL-control.md; schema: include/muster/ctl_msg.def.
 *
 * Threading: any.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"

#include "muster/ctl_msg.def"

#include <stdint.h>

enum { CTL_VERSION = 5, CTL_PREFACE_LEN = 8, CTL_FIRST_BYTE = 0x9d };

/* One struct per message: struct ctl_hello, struct ctl_assign, ... Strings borrow from the input.
 */
#define CTL_TYPE_u8           uint8_t
#define CTL_TYPE_u32          uint32_t
#define CTL_TYPE_u64          uint64_t
#define CTL_TYPE_i32          int32_t
#define CTL_TYPE_i64          int64_t
#define CTL_TYPE_str          struct mu_slice
#define CTL_FIELD(kind, name) CTL_TYPE_##kind name;
#define M(number, NAME, member, FIELDS) \
    struct ctl_##member {               \
        FIELDS(CTL_FIELD)               \
    };
CTL_MESSAGES(M)
#undef M

enum ctl_type {
#define M(number, NAME, member, FIELDS) CTL_##NAME = number,
    CTL_MESSAGES(M)
#undef M
};

struct ctl_msg {
    enum ctl_type type;
    union {
#define M(number, NAME, member, FIELDS) struct ctl_##member member;
        CTL_MESSAGES(M)
#undef M
    };
};

/* OWNED: what an agent knows of a c10d client on its machine, from nothing to proof. */
enum ctl_owned_answer {
    CTL_OWNED_NO,     /* none of its workers' processes */
    CTL_OWNED_UNSEEN, /* its socket is not to be seen from here, nor does its pid tell */
    CTL_OWNED_PID,    /* a process of that pid is one, but its socket is not to be seen */
    CTL_OWNED_SOCKET, /* one of them holds the socket */
};

/* HELLO: may anything of the session's round be alive? */
enum ctl_busy {
    CTL_BUSY_NO,
    CTL_BUSY_ROUND,   /* its workers */
    CTL_BUSY_REMNANT, /* what is left of a round that this node has no part in any more */
};

/* REFUSED: what the agent may make of it. */
enum ctl_refusal {
    CTL_REFUSAL_FINAL,         /* it has no place in this job */
    CTL_REFUSAL_RETRY,         /* a coordinator of an earlier job is about to leave the port */
    CTL_REFUSAL_OTHER_JOB,     /* the port belongs to another job: its own may be at the next one */
    CTL_REFUSAL_OTHER_VERSION, /* the coordinator there speaks another version of the protocol */
};

/* END: `culprit` if it is no local rank. */
enum { CTL_CULPRIT_ELSEWHERE = -1, CTL_CULPRIT_NONE = -2 };

/* "HELLO", "ASSIGN", ...; "?" for a number that is no type. */
const char *ctl_type_name(enum ctl_type type);

/* Append the preface a client opens with. */
void ctl_preface_append(struct mu_buf *out);

/*
 * Look at the first bytes of a connection. Returns 1 if they are a preface of our version, 0 if
 * more bytes are needed, -1 with MU_E_PROTOCOL if they are something else or another version.
 */
int ctl_preface_check(const void *data, size_t len, struct mu_err *err);

/* Append `msg` as one frame. */
void ctl_msg_encode(const struct ctl_msg *msg, struct mu_buf *out);

/*
 * Decode the first frame of `data`. Returns 1 and the number of bytes it took; 0 if it is not
 * complete yet; -1 with MU_E_PROTOCOL (unknown type, fields that do not fill the frame exactly) or
 * MU_E_LIMIT (longer than `max_frame`). Strings of `ret_msg` borrow from `data`.
 */
int ctl_msg_decode(const void *data, size_t len, size_t max_frame, struct ctl_msg *ret_msg,
                   size_t *ret_used, struct mu_err *err);
