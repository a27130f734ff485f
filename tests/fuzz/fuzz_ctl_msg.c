/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder of control messages: what it accepts is encoded to the same bytes again, what it
 * borrows lies within the frame, and no part of a frame is taken for a whole one.
 */
#include "muster/ctl_msg.h"
#include "muster/limits.h"
#include "muster/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *frame;
static size_t frame_len;

static void check_str(struct mu_slice s)
{
    MU_REQUIRE(s.len == 0 || (s.ptr >= frame && s.ptr + s.len <= frame + frame_len));
}

#define CHECK_u8(v)  (void)(v)
#define CHECK_u32(v) (void)(v)
#define CHECK_u64(v) (void)(v)
#define CHECK_i32(v) (void)(v)
#define CHECK_i64(v) (void)(v)
#define CHECK_str(v) check_str(v)

static void check_strings(const struct ctl_msg *msg)
{
    switch (msg->type) {
#define CHECK(kind, name) CHECK_##kind(fields->name);
#define M(number, NAME, member, FIELDS)                   \
    case CTL_##NAME: {                                    \
        const struct ctl_##member *fields = &msg->member; \
        FIELDS(CHECK)                                     \
        break;                                            \
    }
        CTL_MESSAGES(M)
#undef M
#undef CHECK
    }
}

static void check_frame(const uint8_t *data, size_t size)
{
    struct mu_err err = MU_ERR_INIT;
    struct ctl_msg msg;
    size_t used = 0;
    int rc = ctl_msg_decode(data, size, MU_CTL_MAX_FRAME, &msg, &used, &err);
    if (rc != 1) {
        MU_REQUIRE(used == 0 && (rc == 0) == (err.code == MU_E_NONE));
        return;
    }
    MU_REQUIRE(used >= 5 && used <= size);
    frame = (const char *)data;
    frame_len = used;
    check_strings(&msg);
    struct mu_buf again = {0};
    ctl_msg_encode(&msg, &again);
    MU_REQUIRE(again.len == used && memcmp(again.data, data, used) == 0);
    mu_buf_fini(&again);
    size_t unused = 0;
    MU_REQUIRE(ctl_msg_decode(data, used - 1, MU_CTL_MAX_FRAME, &msg, &unused, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mu_err err = MU_ERR_INIT;
    if (ctl_preface_check(data, size, &err) == 1) {
        data += CTL_PREFACE_LEN;
        size -= CTL_PREFACE_LEN;
    }
    check_frame(data, size);
    return 0;
}
