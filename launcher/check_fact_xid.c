/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_fact_xid.h"

#include "launcher/check_fact.h"
#include "muster/buf.h"
#include "muster/lines.h"
#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_LOG = 16 * 1024 * 1024, /* the kernel keeps at most this much */
    MAX_RECORD = 8192,          /* the kernel's own bound on what one read() gives */
    MAX_XIDS = 16,
    RECENT_S = 24 * 60 * 60, /* a GPU may have been reset or repaired since */
};

/*
 * Those of NVIDIA's "XID Errors" that mean hardware, or a driver that needs a reset. Others (13,
 * 31, 43, 45, ...) are what a program did wrong.
 */
static const char *meaning_of(long xid)
{
    switch (xid) {
    case 48:
        return "a memory error of two bits";
    case 64:
        return "bad memory could not be replaced";
    case 74:
        return "an error of NVLink";
    case 79:
        return "the GPU has fallen off the bus";
    case 95:
        return "a memory error that was not contained";
    case 119:
    case 120:
        return "the GPU's own processor does not answer";
    case 140:
        return "a memory error that could not be mended";
    default:
        return NULL;
    }
}

static bool is_ours(const struct gpu_list *gpus, const char *pci)
{
    for (size_t i = 0; i < gpus->count; i++) {
        if (strncmp(gpus->items[i].pci, pci, strlen(pci)) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_known(const json_t *xids, const char *pci, long xid)
{
    size_t i;
    const json_t *known;
    json_array_foreach (xids, i, known) {
        if (json_integer_value(json_object_get(known, "xid")) == xid &&
            strcmp(json_string_value(json_object_get(known, "pci")), pci) == 0) {
            return true;
        }
    }
    return false;
}

/* "6,1234,5678901,-;NVRM: Xid (PCI:0000:1b:00): 79, pid=..., GPU has fallen off the bus." */
void check_fact_xid_read(const char *record, int64_t uptime_s, const struct gpu_list *gpus,
                         json_t *xids)
{
    static const char begin[] = "NVRM: Xid (PCI:";
    const char *text = strstr(record, begin);
    if (text == NULL || json_array_size(xids) >= MAX_XIDS) {
        return;
    }
    const char *number = strchr(record, ',');
    number = number != NULL ? strchr(number + 1, ',') : NULL;
    int64_t at_s = number != NULL ? strtoll(number + 1, NULL, 10) / 1000000 : 0;
    char pci[16];
    const char *address = text + strlen(begin);
    const char *end = strstr(address, "): ");
    size_t len = end != NULL ? (size_t)(end - address) : sizeof(pci);
    if (len >= sizeof(pci) || len == 0 || uptime_s - at_s > RECENT_S) {
        return;
    }
    memcpy(pci, address, len);
    pci[len] = '\0';
    long xid = strtol(end + strlen("): "), NULL, 10);
    const char *means = meaning_of(xid);
    if (means != NULL && is_ours(gpus, pci) && !is_known(xids, pci, xid)) {
        json_array_append_new(xids, json_pack("{s:o, s:I, s:s}", "pci", check_fact_text(pci), "xid",
                                              (json_int_t)xid, "means", means));
    }
}

/* A read of the log gives one record; of a file, anything. */
static void read_log(int fd, int64_t uptime_s, const struct gpu_list *gpus, json_t *xids)
{
    char chunk[MAX_RECORD + 1];
    ssize_t n;
    size_t total = 0;
    while (total < MAX_LOG) {
        n = read(fd, chunk, sizeof(chunk) - 1);
        if (n < 0 && (errno == EPIPE || errno == EINTR)) {
            total++; /* records that were overwritten meanwhile */
            continue;
        }
        if (n <= 0) {
            return;
        }
        total += (size_t)n;
        struct mu_slice rest = {.ptr = chunk, .len = (size_t)n};
        struct mu_slice line;
        while (lines_next(&rest, &line)) {
            mu_autofree char *record = mu_slice_dup(line);
            check_fact_xid_read(record, uptime_s, gpus, xids);
        }
    }
}

json_t *check_fact_xids(const struct host_view *host, const struct gpu_list *gpus)
{
    json_t *xids = json_array();
    char uptime[64];
    mu_autofree char *path = mu_asprintf("%s/dev/kmsg", host->root);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        bool is_read = host_view_text(host, uptime, sizeof(uptime), "/proc/uptime") == 0;
        read_log(fd, is_read ? strtoll(uptime, NULL, 10) : 0, gpus, xids);
        close(fd);
    }
    return xids;
}
