/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AMD and Intel GPUs, by their kernel drivers' trees in /sys.
 */
#include "launcher/gpu_probe.h"

#include "muster/num.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KFD_DIR "/sys/class/kfd/kfd/topology/nodes"
#define DRM_DIR "/sys/class/drm"

/* Of a node; 0 if it does not say. */
static uint64_t property(const char *text, const char *name)
{
    uint64_t value = 0;
    (void)mu_find_number(text, name, &value);
    return value;
}

void gpu_probe_amd(const struct host_view *host, struct gpu_list *list)
{
    char **names = host_view_names(host, KFD_DIR, "");
    for (size_t i = 0; names[i] != NULL; i++) {
        char text[4096];
        /* In a container the properties of GPUs that are not ours are empty. */
        if (host_view_text(host, text, sizeof(text), KFD_DIR "/%s/properties", names[i]) != 0 ||
            property(text, "simd_count") == 0) {
            continue;
        }
        uint64_t render = property(text, "drm_render_minor");
        struct gpu *gpu = host_view_access(host, "/dev/dri/renderD%" PRIu64, render) == 0
                              ? gpu_list_add(list)
                              : NULL;
        if (gpu != NULL) {
            unsigned place = (unsigned)property(text, "location_id"); /* bus, device, function */
            snprintf(gpu->pci, sizeof(gpu->pci), "%04x:%02x:%02x.%x",
                     (unsigned)property(text, "domain") & 0xffff, place >> 8 & 0xff,
                     place >> 3 & 0x1f, place & 7);
            snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%016" PRIx64, property(text, "unique_id"));
            list->found_in = "/sys/class/kfd";
        }
    }
    host_view_free_names(names);
    list->maker = GPU_AMD;
}

static bool is_intel_card(const struct host_view *host, const char *card, char *pci, size_t size)
{
    enum { VENDOR = 0x8086, CLASS_DISPLAY = 0x03 };
    char vendor[16] = "";
    char class[16] = "";
    host_view_text(host, vendor, sizeof(vendor), DRM_DIR "/%s/device/vendor", card);
    host_view_text(host, class, sizeof(class), DRM_DIR "/%s/device/class", card);
    if (strtoul(vendor, NULL, 16) != VENDOR || strtoul(class, NULL, 16) >> 16 != CLASS_DISPLAY ||
        host_view_link(host, pci, size, DRM_DIR "/%s/device", card) != 0) {
        return false;
    }
    return strcmp(pci, "0000:00:02.0") != 0; /* where all that are built in are */
}

void gpu_probe_intel(const struct host_view *host, struct gpu_list *list)
{
    static const char prefix[] = "card";
    char **names = host_view_names(host, DRM_DIR, prefix);
    for (size_t i = 0; names[i] != NULL; i++) {
        const char *number = names[i] + sizeof(prefix) - 1; /* "card0-DP-1" is a connector */
        char pci[16];
        struct gpu *gpu = number[strspn(number, "0123456789")] == '\0' &&
                                  is_intel_card(host, names[i], pci, sizeof(pci))
                              ? gpu_list_add(list)
                              : NULL;
        if (gpu != NULL) {
            memcpy(gpu->pci, pci, sizeof(gpu->pci));
            list->found_in = DRM_DIR;
        }
    }
    host_view_free_names(names);
    list->maker = GPU_INTEL;
}
