/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/event_line.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const struct event_line plain = {.state = "RENDEZVOUS",
                                        .run_id = "job7",
                                        .role = "default",
                                        .node_name = "node1",
                                        .backend = "static",
                                        .program = "/usr/bin/python3",
                                        .timestamp_ms = 1795457744123,
                                        .run_time_ms = 2999,
                                        .duration_ms = 40};

static void expect_line(const struct event_line *e, const char *text)
{
    mu_autofree char *line = event_line_format(e);
    assert_string_equal(line, text);
    json_t *parsed = json_loads(line, 0, NULL);
    assert_non_null(parsed);
    json_decref(parsed);
}

/* Field for field, in the order torchrun 2.13 prints them. */
static void of_the_agent(void **state)
{
    (void)state;
    expect_line(&plain,
                "{\"name\": \"torchelastic.worker.status.RENDEZVOUS\", \"source\": \"AGENT\", "
                "\"timestamp\": 1795457744123, \"metadata\": {\"run_id\": \"job7\", "
                "\"global_rank\": null, \"group_rank\": null, \"worker_id\": null, "
                "\"role\": \"default\", \"hostname\": \"node1\", \"state\": \"RENDEZVOUS\", "
                "\"total_run_time\": 2, \"rdzv_backend\": \"static\", \"raw_error\": null, "
                "\"metadata\": \"{\\\"group_world_size\\\":null,\\\"entry_point\\\":\\\"python3"
                "\\\"}\", \"agent_restarts\": 0, \"duration_ms\": 40}}\n");
}

static void of_a_worker(void **state)
{
    (void)state;
    struct event_line_worker w = {.global_rank = 5,
                                  .local_rank = 1,
                                  .role_rank = 3,
                                  .role_world_size = 4,
                                  .pid = 4711,
                                  .has_failed = true,
                                  .exit_code = -15};
    struct event_line e = plain;
    e.state = "FAILED";
    e.worker = &w;
    e.error = "it said \"no\"\n";
    e.duration_ms = -1;
    e.is_placed = true;
    e.node_rank = 1;
    e.node_count = 2;
    e.restarts = 3;
    expect_line(&e,
                "{\"name\": \"torchelastic.worker.status.FAILED\", \"source\": \"WORKER\", "
                "\"timestamp\": 1795457744123, \"metadata\": {\"run_id\": \"job7\", "
                "\"global_rank\": 5, \"group_rank\": 1, \"worker_id\": \"4711\", "
                "\"role\": \"default\", \"hostname\": \"node1\", \"state\": \"FAILED\", "
                "\"total_run_time\": 2, \"rdzv_backend\": \"static\", "
                "\"raw_error\": \"{\\\"message\\\":\\\"it said \\\\\\\"no\\\\\\\"\\\\n\\\"}\", "
                "\"metadata\": \"{\\\"group_world_size\\\":2,\\\"entry_point\\\":\\\"python3\\\","
                "\\\"local_rank\\\":[1],\\\"role_rank\\\":[3],\\\"role_world_size\\\":[4],"
                "\\\"exit_code\\\":[-15],\\\"worker_pid\\\":[4711]}\", "
                "\"agent_restarts\": 3, \"duration_ms\": null}}\n");
}

/* One line of JSON, whatever bytes names and messages are. */
static void any_bytes(void **state)
{
    (void)state;
    struct event_line e = plain;
    e.run_id = "caf\xe9\n";
    e.program = "\xff\xfe";
    e.error = "\xc3\x28 \x1b[2J";
    mu_autofree char *line = event_line_format(&e);
    json_t *parsed = json_loads(line, 0, NULL);
    assert_non_null(parsed);
    const json_t *metadata = json_object_get(parsed, "metadata");
    assert_string_equal(json_string_value(json_object_get(metadata, "run_id")), "caf?\n");
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    json_decref(parsed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_the_agent),
        cmocka_unit_test(of_a_worker),
        cmocka_unit_test(any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
