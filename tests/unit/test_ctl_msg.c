/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol on the wire: what each message is in bytes, written out. A change of any
 * vector needs a new CTL_VERSION.
 */
#include "muster/ctl_msg.h"
#include "muster/limits.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MAX_BYTES = 512 };

#define STR(text)                              \
    {                                          \
        .ptr = (text), .len = sizeof(text) - 1 \
    }

struct vector {
    const char *hex; /* spaces are for the eye */
    struct ctl_msg msg;
};

static const struct vector vectors[] = {
    {"b5000000 01 "
     "030000006a6f628877665544332211050000006e6f6465310a00000008000000 "
     "ffffffff020000000700000064656661756c740100000004000000 "
     "0200000001030000000600000080ee36000000000010270000000000000100000001020000000203 "
     "c02709000000000030750000000000008813000000000000e803000000000000 "
     "0199000000000000000500000001040000000700000009000000 "
     "380000004800000010000000180000000102000000abcd",
     {.type = CTL_HELLO,
      .hello = {.run_id = STR("job"),
                .agent_id = 0x1122334455667788,
                .node_name = STR("node1"),
                .pid = 10,
                .slots = 8,
                .node_rank = -1,
                .sched_rank = 2,
                .role = STR("default"),
                .min_nodes = 1,
                .max_nodes = 4,
                .spares = 2,
                .scale_up = 1,
                .max_restarts = 3,
                .max_node_losses = 6,
                .restart_window_ms = 3600000,
                .min_uptime_ms = 10000,
                .stop_codes = STR("\1"),
                .retry_codes = STR("\2\3"),
                .join_timeout_ms = 600000,
                .last_call_ms = 30000,
                .node_timeout_ms = 5000,
                .grace_ms = 1000,
                .wants_report = 1,
                .coordinator_id = 0x99,
                .current_round = 5,
                .is_busy = 1,
                .restart_count = 4,
                .place = 7,
                .node_count = 9,
                .first_rank = 56,
                .world_size = 72,
                .role_first_rank = 16,
                .role_world_size = 24,
                .is_searching = 1,
                .proof = STR("\xab\xcd")}}},
    {"11000000 02 07000000 08000000 0100000002000000",
     {.type = CTL_STARTED, .started = {.round = 7, .pids = STR("\1\0\0\0\2\0\0\0")}}},
    {"4b000000 03 07000000 01000000 39300000 02 00 01 0b000000 0b 00 01 8813000000000000 "
     "02000000 6974 01000000 68 03000000 776879 02000000 2f65 02000000 2f6c 02000000 713b "
     "04000000 6279650a",
     {.type = CTL_EXITED,
      .exited = {.round = 7,
                 .local_rank = 1,
                 .pid = 12345,
                 .kind = 2,
                 .stage = 0,
                 .core_dumped = 1,
                 .code = 11,
                 .cause = 11,
                 .blame = 0,
                 .was_ending = 1,
                 .unix_ms = 5000,
                 .sentence = STR("it"),
                 .hint = STR("h"),
                 .message = STR("why"),
                 .error_file = STR("/e"),
                 .log_file = STR("/l"),
                 .quote = STR("q;"),
                 .tail = STR("bye\n")}}},
    {"09000000 04 07000000 02000000", {.type = CTL_STOPPED, .stopped = {.round = 7, .left = 2}}},
    {"0d000000 05 07000000 8877665544332211",
     {.type = CTL_HEARTBEAT, .heartbeat = {.round = 7, .beat = 0x1122334455667788}}},
    {"0d000000 06 0f000000 04000000 73746f70",
     {.type = CTL_LEAVE, .leave = {.signo = 15, .reason = STR("stop")}}},
    {"08000000 07 03000000 6a6f62", {.type = CTL_STATUS, .status = {.run_id = STR("job")}}},
    {"0a000000 08 0900000000000000 03",
     {.type = CTL_OWNED, .owned = {.token = 9, .answer = CTL_OWNED_SOCKET}}},
    {"27000000 10 8877665544332211 01 01 e803000000000000 8813000000000000 08000000 "
     "31302e302e302e31",
     {.type = CTL_WELCOME,
      .welcome = {.coordinator_id = 0x1122334455667788,
                  .is_embedded = 1,
                  .is_resumed = 1,
                  .heartbeat_ms = 1000,
                  .node_timeout_ms = 5000,
                  .master_addr = STR("10.0.0.1")}}},
    {"0a000000 11 01 04000000 66756c6c",
     {.type = CTL_REFUSED, .refused = {.kind = CTL_REFUSAL_RETRY, .text = STR("full")}}},
    {"10000000 12 02000000 03000000 01 02000000 322f",
     {.type = CTL_WAITING, .waiting = {.joined = 2, .needed = 3, .is_lead = 1, .text = STR("2/")}}},
    {"21000000 13 01000000 02000000 03000000 04000000 05000000 06000000 07000000 08000000",
     {.type = CTL_ASSIGN,
      .assign = {.round = 1,
                 .restart_count = 2,
                 .node_rank = 3,
                 .node_count = 4,
                 .first_rank = 5,
                 .world_size = 6,
                 .role_first_rank = 7,
                 .role_world_size = 8}}},
    {"18000000 14 07000000 0f000000 3075000000000000 03000000 776879",
     {.type = CTL_STOP,
      .stop = {.round = 7, .signo = 15, .grace_ms = 30000, .reason = STR("why")}}},
    {"16000000 15 89000000 01 ffffffff 02000000 6f6b 02000000 7b7d",
     {.type = CTL_END,
      .end = {.exit_status = 137,
              .is_report = 1,
              .culprit = CTL_CULPRIT_ELSEWHERE,
              .text = STR("ok"),
              .report = STR("{}")}}},
    {"07000000 16 02000000 7b7d", {.type = CTL_STATUS_REPLY, .status_reply = {.json = STR("{}")}}},
    {"15000000 17 0900000000000000 07000000 39300000 50c30000",
     {.type = CTL_WHOSE, .whose = {.token = 9, .round = 7, .pid = 12345, .port = 50000}}},
};

static unsigned nibble(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

static size_t from_hex(const char *hex, uint8_t *bytes)
{
    size_t len = 0;
    for (; *hex != '\0'; hex++) {
        if (*hex != ' ') {
            assert_true(len < MAX_BYTES);
            bytes[len++] = (uint8_t)(nibble(hex[0]) << 4 | nibble(hex[1]));
            hex++;
        }
    }
    return len;
}

static int decode(const uint8_t *bytes, size_t len, struct ctl_msg *msg, size_t *used,
                  struct mu_err *err)
{
    return ctl_msg_decode(bytes, len, MU_CTL_MAX_FRAME, msg, used, err);
}

static void test_every_type_has_a_vector(void **state)
{
    (void)state;
#define M(number, NAME, member, FIELDS) +1
    assert_int_equal(MU_COUNT(vectors), 0 CTL_MESSAGES(M));
#undef M
}

static void test_encode(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_COUNT(vectors); i++) {
        uint8_t want[MAX_BYTES];
        size_t len = from_hex(vectors[i].hex, want);
        struct mu_buf out = {0};
        ctl_msg_encode(&vectors[i].msg, &out);
        if (out.len != len || memcmp(out.data, want, len) != 0) {
            fail_msg("%s is encoded differently", ctl_type_name(vectors[i].msg.type));
        }
        mu_buf_fini(&out);
    }
}

/* What comes out is what went in: encoded again it gives the same bytes. */
static void test_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_COUNT(vectors); i++) {
        uint8_t bytes[MAX_BYTES];
        size_t len = from_hex(vectors[i].hex, bytes);
        struct ctl_msg msg;
        size_t used = 0;
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(decode(bytes, len, &msg, &used, &err), 1);
        assert_int_equal(used, len);
        assert_int_equal(msg.type, vectors[i].msg.type);
        struct mu_buf out = {0};
        ctl_msg_encode(&msg, &out);
        assert_int_equal(out.len, len);
        assert_memory_equal(out.data, bytes, len);
        mu_buf_fini(&out);
    }
}

static void test_truncated_needs_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_COUNT(vectors); i++) {
        uint8_t bytes[MAX_BYTES];
        size_t len = from_hex(vectors[i].hex, bytes);
        for (size_t cut = 0; cut < len; cut++) {
            mu_autofree uint8_t *part = mu_alloc(cut + 1); /* reading past the end is seen */
            memcpy(part, bytes, cut);
            struct ctl_msg msg;
            size_t used = 77;
            struct mu_err err = MU_ERR_INIT;
            assert_int_equal(decode(part, cut, &msg, &used, &err), 0);
            assert_int_equal(used, 77);
        }
    }
}

/* The length says one byte more or less than the fields have. */
static void test_fields_must_fill_the_frame(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_COUNT(vectors); i++) {
        uint8_t bytes[MAX_BYTES + 1] = {0};
        size_t len = from_hex(vectors[i].hex, bytes);
        for (int change = -1; change <= 1; change += 2) {
            uint8_t was = bytes[0];
            bytes[0] = (uint8_t)(bytes[0] + change);
            struct ctl_msg msg;
            size_t used = 0;
            struct mu_err err = MU_ERR_INIT;
            assert_int_equal(decode(bytes, len + 1, &msg, &used, &err), -1);
            assert_int_equal(err.code, MU_E_PROTOCOL);
            char want[64];
            snprintf(want, sizeof(want), "malformed control message %s",
                     ctl_type_name(vectors[i].msg.type));
            assert_string_equal(err.text, want);
            bytes[0] = was;
        }
    }
}

static void test_two_messages(void **state)
{
    (void)state;
    uint8_t bytes[MAX_BYTES];
    size_t len = from_hex(
        "0d000000 05 07000000 0100000000000000 0d000000 05 08000000 0200000000000000", bytes);
    struct ctl_msg msg;
    size_t used = 0;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(decode(bytes, len, &msg, &used, &err), 1);
    assert_int_equal(used, 17);
    assert_int_equal(decode(bytes + used, len - used, &msg, &used, &err), 1);
    assert_int_equal(msg.heartbeat.round, 8);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        enum mu_err_code code;
        const char *text;
    } bad[] = {
        {"00000000", MU_E_LIMIT, "a control message of 0 bytes, at most 65536 allowed"},
        {"01000100", MU_E_LIMIT, "a control message of 65537 bytes, at most 65536 allowed"},
        {"ffffffff", MU_E_LIMIT, "a control message of 4294967295 bytes, at most 65536 allowed"},
        {"01000000 00", MU_E_PROTOCOL, "unknown control message type 0"},
        {"01000000 ff", MU_E_PROTOCOL, "unknown control message type 255"},
        {"09000000 07 ffffffff 6a6f6232", MU_E_PROTOCOL, "malformed control message STATUS"},
    };
    for (size_t i = 0; i < MU_COUNT(bad); i++) {
        uint8_t bytes[MAX_BYTES];
        size_t len = from_hex(bad[i].hex, bytes);
        struct ctl_msg msg;
        size_t used = 0;
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(decode(bytes, len, &msg, &used, &err), -1);
        assert_int_equal(err.code, bad[i].code);
        assert_string_equal(err.text, bad[i].text);
    }
}

static void test_preface(void **state)
{
    (void)state;
    static const uint8_t want[CTL_PREFACE_LEN] = {0x9d, 0x6d, 0x73, 0x74, 0x05, 0x00, 0x00, 0x00};
    struct mu_buf out = {0};
    ctl_preface_append(&out);
    assert_int_equal(out.len, sizeof(want));
    assert_memory_equal(out.data, want, sizeof(want));
    mu_buf_fini(&out);
    struct mu_err err = MU_ERR_INIT;
    for (size_t len = 0; len < sizeof(want); len++) {
        assert_int_equal(ctl_preface_check(want, len, &err), 0);
    }
    assert_int_equal(ctl_preface_check(want, sizeof(want), &err), 1);
}

static void test_preface_errors(void **state)
{
    (void)state;
    struct mu_err err = MU_ERR_INIT;
    static const uint8_t other_version[] = {0x9d, 0x6d, 0x73, 0x74, 0x02, 0x01, 0x00, 0x00};
    assert_int_equal(ctl_preface_check(other_version, sizeof(other_version), &err), -1);
    assert_int_equal(err.code, MU_E_PROTOCOL);
    assert_string_equal(err.text, "control protocol version 258, this is version 5: run the same "
                                  "muster on every node");
    assert_int_equal(ctl_preface_check("\x9d", 1, &err), 0);
    assert_int_equal(ctl_preface_check("\x9dmsx", 4, &err), -1);
    assert_string_equal(err.text, "not muster's control protocol");
    assert_int_equal(ctl_preface_check("G", 1, &err), -1);
}

static void test_type_names(void **state)
{
    (void)state;
    assert_string_equal(ctl_type_name(CTL_HELLO), "HELLO");
    assert_string_equal(ctl_type_name(CTL_STATUS_REPLY), "STATUS_REPLY");
    assert_string_equal(ctl_type_name((enum ctl_type)200), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_has_a_vector),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_truncated_needs_more),
        cmocka_unit_test(test_fields_must_fill_the_frame),
        cmocka_unit_test(test_two_messages),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_preface),
        cmocka_unit_test(test_preface_errors),
        cmocka_unit_test(test_type_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
