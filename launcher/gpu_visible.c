/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/gpu_visible.h"

#include "muster/buf.h"
#include "muster/env.h"
#include "muster/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char uuid_prefix[] = "GPU-";
static const char mig_prefix[] = "MIG-";

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The next entry of a list, which is cut if it is longer than the name of any device. */
static bool next_word(const char **rest, char *word, size_t size)
{
    struct mu_slice entry;
    if (!mu_slice_next_entry(rest, &entry)) {
        return false;
    }
    snprintf(word, size, MU_SLICE_FMT, MU_SLICE_ARG(entry));
    return true;
}

/* The device of a number; what follows the digits does not count, as for strtoul(). */
static const struct gpu *find_number(const struct gpu_list *all, const char *word)
{
    char *end;
    long number = strtol(word, &end, 10);
    if (end == word || number < 0) {
        return NULL;
    }
    for (size_t i = 0; i < all->count; i++) {
        if (!all->items[i].is_mig && number-- == 0) {
            return &all->items[i];
        }
    }
    return NULL;
}

/* The one device whose UUID begins like this. */
static const struct gpu *find_uuid(const struct gpu_list *all, const char *word)
{
    const struct gpu *found = NULL;
    for (size_t i = 0; i < all->count; i++) {
        if (begins_with(all->items[i].uuid, word)) {
            if (found != NULL) {
                return NULL;
            }
            found = &all->items[i];
        }
    }
    return found;
}

static bool knows_uuids(const struct gpu_list *all, const char *prefix)
{
    bool knows = false;
    for (size_t i = 0; i < all->count; i++) {
        knows |= begins_with(all->items[i].uuid, prefix);
    }
    return knows;
}

static bool has_uuid(const struct gpu_list *list, const char *uuid)
{
    bool has = false;
    for (size_t i = 0; i < list->count; i++) {
        has |= strcmp(list->items[i].uuid, uuid) == 0;
    }
    return has;
}

static void replace(struct gpu_list *list, struct gpu_list *chosen, const char *name)
{
    free(list->items);
    list->items = chosen->items;
    list->count = chosen->count;
    list->limited_by = name;
}

static void choose(struct gpu_list *list, const char *value, const char *name)
{
    const char *prefix = begins_with(value, uuid_prefix)  ? uuid_prefix
                         : begins_with(value, mig_prefix) ? mig_prefix
                                                          : "";
    bool is_believed = prefix[0] != '\0' && list->count > 0 && !knows_uuids(list, prefix);
    bool is_used[GPU_LIST_MAX + 1] = {false}; /* the last: what is only believed */
    struct gpu_list chosen = {0};
    char word[sizeof(((struct gpu *)NULL)->uuid)];
    while (next_word(&value, word, sizeof(word))) {
        struct gpu believed = {.numa_node = -1};
        const struct gpu *gpu = NULL;
        if (prefix[0] == '\0') {
            gpu = find_number(list, word);
        } else if (!begins_with(word, prefix)) {
            break;
        } else if (is_believed) {
            memcpy(believed.uuid, word, sizeof(word));
            believed.is_mig = prefix == mig_prefix;
            gpu = &believed;
        } else {
            gpu = find_uuid(list, word);
        }
        if (gpu == NULL) {
            break;
        }
        size_t index = gpu == &believed ? GPU_LIST_MAX : (size_t)(gpu - list->items);
        if (gpu == &believed ? has_uuid(&chosen, word) : is_used[index]) {
            chosen.count = 0;
            break;
        }
        is_used[index] = true;
        struct gpu *added = gpu_list_add(&chosen);
        if (added == NULL) {
            break;
        }
        *added = *gpu;
    }
    replace(list, &chosen, name);
}

/* Tiles of one card are devices of their own. */
static void choose_tiles(struct gpu_list *list, const char *value, const char *name)
{
    struct gpu_list chosen = {0};
    char word[32];
    while (next_word(&value, word, sizeof(word))) {
        const struct gpu *gpu = isdigit((unsigned char)word[0]) ? find_number(list, word) : NULL;
        struct gpu *added = gpu != NULL ? gpu_list_add(&chosen) : NULL;
        if (added == NULL) {
            break;
        }
        *added = *gpu;
    }
    replace(list, &chosen, name);
}

static void drop_mig(struct gpu_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (!list->items[i].is_mig) {
            list->items[kept++] = list->items[i];
        }
    }
    list->count = kept;
}

static void apply_amd(struct gpu_list *list, char *const *envp)
{
    static const char *const names[] = {"ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
                                        "CUDA_VISIBLE_DEVICES"};
    bool has_hip = mu_env_get(envp, names[1]) != NULL;
    for (size_t i = 0; i < MU_COUNT(names); i++) {
        const char *value = mu_env_get(envp, names[i]);
        if (value != NULL && !(i == 2 && has_hip)) {
            choose(list, value, names[i]);
        }
    }
}

void gpu_visible_apply(struct gpu_list *list, char *const *envp)
{
    static const char cuda[] = "CUDA_VISIBLE_DEVICES";
    static const char intel[] = "ZE_AFFINITY_MASK";
    const char *value;
    if (list->count == 0) {
        return;
    }
    switch (list->maker) {
    case GPU_NVIDIA:
        value = mu_env_get(envp, cuda);
        if (value != NULL) {
            choose(list, value, cuda);
        } else {
            drop_mig(list);
        }
        break;
    case GPU_AMD:
        apply_amd(list, envp);
        break;
    case GPU_INTEL:
        value = mu_env_get(envp, intel);
        if (value != NULL && value[0] != '\0') {
            choose_tiles(list, value, intel);
        }
        break;
    }
}
