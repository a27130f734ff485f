/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/ctl_msg.h"

#include <string.h>

static const uint8_t magic[4] = {CTL_FIRST_BYTE, 'm', 's', 't'};

const char *ctl_type_name(enum ctl_type type)
{
    switch (type) {
#define M(number, NAME, member, FIELDS) \
    case CTL_##NAME:                    \
        return #NAME;
        CTL_MESSAGES(M)
#undef M
    }
    return "?";
}

void ctl_preface_append(struct mu_buf *out)
{
    mu_buf_append(out, magic, sizeof(magic));
    mu_buf_append_u16(out, CTL_VERSION);
    mu_buf_append_u16(out, 0);
}

int ctl_preface_check(const void *data, size_t len, struct mu_err *err)
{
    size_t known = len < sizeof(magic) ? len : sizeof(magic);
    if (memcmp(data, magic, known) != 0) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "not muster's control protocol");
    }
    if (len < CTL_PREFACE_LEN) {
        return 0;
    }
    struct mu_reader r = mu_reader_of((const uint8_t *)data + sizeof(magic), 4);
    uint16_t version = mu_read_u16(&r);
    if (version != CTL_VERSION) {
        return mu_err_set(err, MU_E_PROTOCOL, 0,
                          "control protocol version %u, this is version %d: run the same muster on "
                          "every node",
                          version, CTL_VERSION);
    }
    return 1;
}

static void put_u8(struct mu_buf *out, uint8_t v)
{
    mu_buf_append_u8(out, v);
}

static void put_u32(struct mu_buf *out, uint32_t v)
{
    mu_buf_append_u32(out, v);
}

static void put_u64(struct mu_buf *out, uint64_t v)
{
    mu_buf_append_u64(out, v);
}

static void put_i32(struct mu_buf *out, int32_t v)
{
    mu_buf_append_u32(out, (uint32_t)v);
}

static void put_i64(struct mu_buf *out, int64_t v)
{
    mu_buf_append_u64(out, (uint64_t)v);
}

static void put_str(struct mu_buf *out, struct mu_slice v)
{
    mu_buf_append_u32(out, (uint32_t)v.len);
    mu_buf_append(out, v.ptr, v.len);
}

void ctl_msg_encode(const struct ctl_msg *msg, struct mu_buf *out)
{
    size_t start = out->len;
    put_u32(out, 0);
    put_u8(out, (uint8_t)msg->type);
    switch (msg->type) {
#define PUT(kind, name) put_##kind(out, fields->name);
#define M(number, NAME, member, FIELDS)                   \
    case CTL_##NAME: {                                    \
        const struct ctl_##member *fields = &msg->member; \
        FIELDS(PUT)                                       \
        break;                                            \
    }
        CTL_MESSAGES(M)
#undef M
#undef PUT
    }
    mu_buf_put_u32(out, start, (uint32_t)(out->len - start - 4));
}

static uint8_t get_u8(struct mu_reader *r)
{
    return mu_read_u8(r);
}

static uint32_t get_u32(struct mu_reader *r)
{
    return mu_read_u32(r);
}

static uint64_t get_u64(struct mu_reader *r)
{
    return mu_read_u64(r);
}

static int32_t get_i32(struct mu_reader *r)
{
    return (int32_t)mu_read_u32(r);
}

static int64_t get_i64(struct mu_reader *r)
{
    return (int64_t)mu_read_u64(r);
}

static struct mu_slice get_str(struct mu_reader *r)
{
    uint32_t len = mu_read_u32(r);
    return mu_read_bytes(r, len);
}

int ctl_msg_decode(const void *data, size_t len, size_t max_frame, struct ctl_msg *ret_msg,
                   size_t *ret_used, struct mu_err *err)
{
    struct mu_reader head = mu_reader_of(data, len);
    uint32_t body_len = mu_read_u32(&head);
    if (head.failed) {
        return 0;
    }
    if (body_len < 1 || body_len > max_frame) {
        return mu_err_set(err, MU_E_LIMIT, 0, "a control message of %u bytes, at most %zu allowed",
                          body_len, max_frame);
    }
    if (mu_reader_left(&head) < body_len) {
        return 0;
    }
    struct mu_reader r = mu_reader_of(head.pos, body_len);
    struct ctl_msg msg = {.type = (enum ctl_type)mu_read_u8(&r)};
    switch (msg.type) {
#define GET(kind, name) fields->name = get_##kind(&r);
#define M(number, NAME, member, FIELDS)            \
    case CTL_##NAME: {                             \
        struct ctl_##member *fields = &msg.member; \
        FIELDS(GET)                                \
        break;                                     \
    }
        CTL_MESSAGES(M)
#undef M
#undef GET
    default:
        return mu_err_set(err, MU_E_PROTOCOL, 0, "unknown control message type %u",
                          (unsigned)msg.type);
    }
    if (r.failed || mu_reader_left(&r) != 0) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "malformed control message %s",
                          ctl_type_name(msg.type));
    }
    *ret_msg = msg;
    *ret_used = 4 + (size_t)body_len;
    return 1;
}
