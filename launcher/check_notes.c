/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_notes.h"

#include "muster/addr.h"
#include "muster/mem.h"
#include "muster/names.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RTT_US   INT64_C(600000000)
#define MAX_CLOCK_US INT64_C(4000000000000000) /* more than a century */

static char *text_of(json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    MU_REQUIRE(text != NULL);
    return text;
}

static json_t *load(struct mu_slice text, struct mu_err *err)
{
    json_error_t why;
    json_t *o = text.len <= CHECK_NOTES_MAX_TEXT ? json_loadb(text.ptr, text.len, 0, &why) : NULL;
    if (!json_is_object(o)) {
        json_decref(o);
        mu_err_set(err, MU_E_PROTOCOL, 0, "what a node wrote for the others is no JSON object");
        return NULL;
    }
    return o;
}

/* A whole number in [min, max]; false if there is none. */
static bool number_of(const json_t *value, int64_t min, int64_t max, int64_t *ret_number)
{
    int64_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < min || number > max) {
        return false;
    }
    *ret_number = number;
    return true;
}

char *check_note_encode(const struct check_note *note)
{
    char key[17];
    snprintf(key, sizeof(key), "%016" PRIx64, note->key);
    return text_of(json_pack("{s:s, s:s, s:i, s:s, s:s, s:i}", "name", note->name, "address",
                             note->address, "port", (int)note->port, "key", key, "door", note->door,
                             "door_port", (int)note->door_port));
}

static bool copy_address(const json_t *o, const char *name, char text[INET6_ADDRSTRLEN])
{
    const char *value = json_string_value(json_object_get(o, name));
    struct sockaddr_storage addr;
    if (value == NULL || strlen(value) >= INET6_ADDRSTRLEN ||
        mu_addr_from_numeric(value, 0, &addr) != 0) {
        return false;
    }
    snprintf(text, INET6_ADDRSTRLEN, "%s", value);
    return true;
}

static bool fill_note(const json_t *o, struct check_note *note)
{
    const char *name = json_string_value(json_object_get(o, "name"));
    const char *key = json_string_value(json_object_get(o, "key"));
    int64_t port = 0;
    int64_t door_port = 0;
    char *end = NULL;
    if (name == NULL || !mu_names_is_presentable(mu_slice_of(name)) || key == NULL ||
        strlen(key) != 16 || !copy_address(o, "address", note->address) ||
        !copy_address(o, "door", note->door) ||
        !number_of(json_object_get(o, "port"), 1, UINT16_MAX, &port) ||
        !number_of(json_object_get(o, "door_port"), 1, UINT16_MAX, &door_port)) {
        return false;
    }
    snprintf(note->name, sizeof(note->name), "%s", name);
    note->port = (uint16_t)port;
    note->door_port = (uint16_t)door_port;
    note->key = strtoull(key, &end, 16);
    return *end == '\0';
}

int check_note_decode(struct mu_slice text, struct check_note *ret_note, struct mu_err *err)
{
    json_t *o = load(text, err);
    if (o == NULL) {
        return -1;
    }
    struct check_note note = {0};
    bool is_one = fill_note(o, &note);
    json_decref(o);
    if (!is_one) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "what a node says of itself is incomplete");
    }
    *ret_note = note;
    return 0;
}

char *check_notes_encode_links(const struct check_links *l, size_t from)
{
    json_t *links = json_array();
    for (size_t to = 0; to < l->count; to++) {
        const struct check_link *k = check_links_at(l, from, to);
        int64_t clock_us = k->clock_us > MAX_CLOCK_US    ? MAX_CLOCK_US
                           : k->clock_us < -MAX_CLOCK_US ? -MAX_CLOCK_US
                                                         : k->clock_us;
        if (k->state != CHECK_LINK_UNTRIED) {
            json_array_append_new(links,
                                  json_pack("[I, i, I, I, I]", (json_int_t)to, (int)k->state,
                                            (json_int_t)k->rtt_us, (json_int_t)k->rtt_median_us,
                                            (json_int_t)clock_us));
        }
    }
    return text_of(json_pack("{s:i, s:o}", "door", (int)l->nodes[from].door, "links", links));
}

static bool fill_link(const json_t *a, struct check_links *l, size_t from)
{
    int64_t to = 0;
    int64_t state = 0;
    int64_t rtt_us = 0;
    int64_t median_us = 0;
    int64_t clock_us = 0;
    if (!number_of(json_array_get(a, 0), 0, (int64_t)l->count - 1, &to) ||
        !number_of(json_array_get(a, 1), CHECK_LINK_OK, CHECK_LINK_STATES - 1, &state) ||
        !number_of(json_array_get(a, 2), 0, MAX_RTT_US, &rtt_us) ||
        !number_of(json_array_get(a, 3), 0, MAX_RTT_US, &median_us) ||
        !number_of(json_array_get(a, 4), -MAX_CLOCK_US, MAX_CLOCK_US, &clock_us) ||
        (size_t)to == from) {
        return false;
    }
    *check_links_at(l, from, (size_t)to) =
        (struct check_link){.state = (enum check_link_state)state,
                            .rtt_us = (uint32_t)rtt_us,
                            .rtt_median_us = (uint32_t)median_us,
                            .clock_us = clock_us};
    return true;
}

int check_notes_decode_links(struct mu_slice text, struct check_links *l, size_t from,
                             struct mu_err *err)
{
    json_t *o = load(text, err);
    if (o == NULL) {
        return -1;
    }
    int64_t door = 0;
    bool is_one = number_of(json_object_get(o, "door"), 0, CHECK_LINK_STATES - 1, &door);
    size_t i;
    json_t *link;
    json_array_foreach (json_object_get(o, "links"), i, link) {
        is_one = is_one && fill_link(link, l, from);
    }
    json_decref(o);
    if (!is_one) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "what a node says of its connections is no list");
    }
    l->nodes[from].door = (enum check_link_state)door;
    l->nodes[from].has_reported = true;
    return 0;
}
