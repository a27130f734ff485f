/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libnvidia-ml.so.1 for tests. FAKE_NVML describes its devices, separated by ';': PCI address,
 * UUID, and the UUIDs of MIG devices: "0000:1b:00.0 GPU-1 MIG-1 MIG-2;0000:2b:00.0 GPU-2". Unset,
 * the library says that no driver is loaded.
 *
 * FAKE_NVML_USE names a file that tells, whenever it is asked, what is in use: a line for each
 * device that has something, "ADDRESS-OR-UUID MIB [PID:MIB]...". Other lines: "error", every such
 * question fails; "old", only those of the first version do not; "hang", they never return;
 * "hang-init", to load it does not. FAKE_NVML_MARK names a file that gets a line each time.
 *
 * FAKE_NVML_HEALTH says the rest, of a device "ADDRESS KEY=NUMBER ...", divided by ';': "lost=15",
 * "ecc=2", "pending=1", "failed=1", "slow=64", "mig=1", "mig-pending=1". "driver=1" is the driver:
 * with "mismatch=18" it cannot be initialised. Models, versions and sizes are those of an H100.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OK,
    ERROR_INVALID = 2,
    ERROR_NOT_FOUND = 6,
    ERROR_INSUFFICIENT_SIZE = 7,
    ERROR_NO_DRIVER = 9,
    ERROR_UNKNOWN = 999,
    MAX_DEVICES = 64,
    MAX_MIG = 7
};

#define TOTAL_MEMORY (85520809984ULL)

struct device {
    char pci[16];
    char uuid[64];
    struct device *mig[MAX_MIG];
    unsigned mig_count;
};

struct pci_info {
    char bus_id_legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
};

struct process {
    unsigned pid;
    unsigned long long bytes;
    unsigned gpu_instance, compute_instance;
};

struct memory {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

struct memory_v1 {
    unsigned long long total, free, used;
};

static struct device devices[MAX_DEVICES];
static unsigned count;
static int is_on;

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetCount_v2(unsigned *ret);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **ret);
int nvmlDeviceGetPciInfo_v3(struct device *device, struct pci_info *ret);
int nvmlDeviceGetUUID(const struct device *device, char *uuid, unsigned size);
int nvmlDeviceGetMaxMigDeviceCount(const struct device *device, unsigned *ret);
int nvmlDeviceGetMigDeviceHandleByIndex(const struct device *device, unsigned index,
                                        struct device **ret);
int nvmlDeviceGetHandleByPciBusId_v2(const char *address, struct device **ret);
int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **ret);
int nvmlDeviceGetMemoryInfo_v2(const struct device *device, struct memory *ret);
int nvmlDeviceGetMemoryInfo(const struct device *device, struct memory_v1 *ret);
int nvmlDeviceGetComputeRunningProcesses_v2(const struct device *device, unsigned *ret_count,
                                            struct process *list);
int nvmlSystemGetDriverVersion(char *version, unsigned size);
int nvmlSystemGetCudaDriverVersion_v2(int *version);
int nvmlDeviceGetName(const struct device *device, char *name, unsigned size);
int nvmlDeviceGetTotalEccErrors(const struct device *device, int type, int counter,
                                unsigned long long *ret);
int nvmlDeviceGetRemappedRows(const struct device *device, unsigned *corrected,
                              unsigned *uncorrected, unsigned *pending, unsigned *failed);
int nvmlDeviceGetCurrentClocksThrottleReasons(const struct device *device, unsigned long long *ret);
int nvmlDeviceGetMigMode(const struct device *device, unsigned *mode, unsigned *pending);

/* The file's line that begins with this word, in `line`; 0: there is none. */
static int find_use(const char *word, char *line, size_t size)
{
    const char *path = getenv("FAKE_NVML_USE");
    FILE *f = path != NULL ? fopen(path, "r") : NULL;
    int is_found = 0;
    while (f != NULL && !is_found && fgets(line, (int)size, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        size_t len = strlen(word);
        is_found = len > 0 && strncmp(line, word, len) == 0 && strchr(" ", line[len]) != NULL;
    }
    if (f != NULL) {
        fclose(f);
    }
    return is_found;
}

static void hang_if(const char *word)
{
    char line[256];
    if (find_use(word, line, sizeof(line))) {
        for (;;) {
            pause();
        }
    }
}

/* What the line of a device says behind its name; "0" if there is none. */
static int find_line(const struct device *device, char *line, size_t size)
{
    hang_if("hang");
    if (find_use("error", line, size)) {
        return ERROR_UNKNOWN;
    }
    const char *name = device->pci;
    if (!find_use(name, line, size)) {
        name = device->uuid;
        if (!find_use(name, line, size)) {
            snprintf(line, size, "0");
            return OK;
        }
    }
    memmove(line, line + strlen(name), strlen(line + strlen(name)) + 1);
    return OK;
}

/* What FAKE_NVML_HEALTH has for a key of a device; 0 if nothing. */
static int health(const char *device, const char *key)
{
    const char *text = getenv("FAKE_NVML_HEALTH");
    char pattern[64];
    int value = 0;
    snprintf(pattern, sizeof(pattern), " %s=", key);
    for (const char *part = text; part != NULL; part = strchr(part, ';')) {
        part += *part == ';';
        const char *end = part + strcspn(part, ";");
        const char *found = strstr(part, pattern);
        if (strncmp(part, device, strlen(device)) == 0 && found != NULL && found < end) {
            value = atoi(found + strlen(pattern));
        }
    }
    return value;
}

static void leave_mark(void)
{
    const char *path = getenv("FAKE_NVML_MARK");
    int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (fd >= 0) {
        ssize_t n = write(fd, "init\n", 5);
        (void)n;
        close(fd);
    }
}

static void read_device(char *text)
{
    struct device *device = &devices[count++];
    memset(device, 0, sizeof(*device));
    char *word;
    for (int i = 0; (word = strsep(&text, " ")) != NULL; i++) {
        if (i == 0) {
            snprintf(device->pci, sizeof(device->pci), "%s", word);
        } else if (i == 1) {
            snprintf(device->uuid, sizeof(device->uuid), "%s", word);
        } else if (device->mig_count < MAX_MIG) {
            struct device *mig = calloc(1, sizeof(*mig));
            snprintf(mig->uuid, sizeof(mig->uuid), "%s", word);
            device->mig[device->mig_count++] = mig;
        }
    }
}

int nvmlInit_v2(void)
{
    const char *text = getenv("FAKE_NVML");
    leave_mark();
    hang_if("hang-init");
    if (text == NULL) {
        return ERROR_NO_DRIVER;
    }
    if (health("driver", "mismatch") != 0) {
        return health("driver", "mismatch");
    }
    char *copy = strdup(text);
    char *rest = copy;
    char *device;
    count = 0;
    is_on = 1;
    while ((device = strsep(&rest, ";")) != NULL && count < MAX_DEVICES) {
        if (device[0] != '\0') {
            read_device(device);
        }
    }
    free(copy);
    return OK;
}

int nvmlShutdown(void)
{
    for (unsigned i = 0; i < count; i++) {
        for (unsigned k = 0; k < devices[i].mig_count; k++) {
            free(devices[i].mig[k]);
        }
    }
    count = 0;
    is_on = 0;
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *ret)
{
    *ret = count;
    return is_on ? OK : ERROR_INVALID;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **ret)
{
    if (!is_on || index >= count) {
        return ERROR_INVALID;
    }
    *ret = &devices[index];
    return OK;
}

int nvmlDeviceGetPciInfo_v3(struct device *device, struct pci_info *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (sscanf(device->pci, "%x:%x:%x", &ret->domain, &ret->bus, &ret->device) != 3) {
        return ERROR_INVALID;
    }
    snprintf(ret->bus_id, sizeof(ret->bus_id), "%08X:%02X:%02X.0", ret->domain, ret->bus,
             ret->device);
    return OK;
}

int nvmlDeviceGetUUID(const struct device *device, char *uuid, unsigned size)
{
    snprintf(uuid, size, "%s", device->uuid);
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(const struct device *device, unsigned *ret)
{
    *ret = device->mig_count > 0 ? MAX_MIG : 0;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(const struct device *device, unsigned index,
                                        struct device **ret)
{
    if (index >= device->mig_count) {
        return ERROR_NOT_FOUND; /* as for a place without an instance */
    }
    *ret = device->mig[index];
    return OK;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *address, struct device **ret)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(devices[i].pci, address) == 0) {
            *ret = &devices[i];
            return health(address, "lost");
        }
    }
    return ERROR_NOT_FOUND;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **ret)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(devices[i].uuid, uuid) == 0) {
            *ret = &devices[i];
            return health(devices[i].pci, "lost");
        }
        for (unsigned k = 0; k < devices[i].mig_count; k++) {
            if (strcmp(devices[i].mig[k]->uuid, uuid) == 0) {
                *ret = devices[i].mig[k];
                return OK;
            }
        }
    }
    return ERROR_NOT_FOUND;
}

static int used_of(const struct device *device, unsigned long long *ret_used)
{
    char line[4096];
    int rc = find_line(device, line, sizeof(line));
    *ret_used = rc == OK ? strtoull(line, NULL, 10) << 20 : 0;
    return rc;
}

int nvmlDeviceGetMemoryInfo_v2(const struct device *device, struct memory *ret)
{
    char line[256];
    if (ret->version != (sizeof(*ret) | 2U << 24) || find_use("old", line, sizeof(line))) {
        return ERROR_INVALID;
    }
    ret->total = TOTAL_MEMORY;
    return used_of(device, &ret->used);
}

int nvmlDeviceGetMemoryInfo(const struct device *device, struct memory_v1 *ret)
{
    ret->total = TOTAL_MEMORY;
    return used_of(device, &ret->used);
}

int nvmlDeviceGetComputeRunningProcesses_v2(const struct device *device, unsigned *ret_count,
                                            struct process *list)
{
    char line[4096];
    int rc = find_line(device, line, sizeof(line));
    if (rc != OK) {
        return rc;
    }
    unsigned found = 0;
    char *rest = line + strspn(line, " ");
    char *word;
    strsep(&rest, " ");
    while ((word = strsep(&rest, " ")) != NULL) {
        char *end;
        unsigned pid = (unsigned)strtoul(word, &end, 10);
        if (*end == ':' && found++ < *ret_count) {
            list[found - 1] =
                (struct process){.pid = pid, .bytes = strtoull(end + 1, NULL, 10) << 20};
        }
    }
    rc = found <= *ret_count ? OK : ERROR_INSUFFICIENT_SIZE;
    *ret_count = found;
    return rc;
}

int nvmlSystemGetDriverVersion(char *version, unsigned size)
{
    snprintf(version, size, "550.54.15");
    return OK;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    *version = 12040;
    return OK;
}

int nvmlDeviceGetName(const struct device *device, char *name, unsigned size)
{
    (void)device;
    snprintf(name, size, "NVIDIA H100 80GB HBM3");
    return OK;
}

int nvmlDeviceGetTotalEccErrors(const struct device *device, int type, int counter,
                                unsigned long long *ret)
{
    *ret = type == 1 && counter == 0 ? (unsigned long long)health(device->pci, "ecc") : 0;
    return OK;
}

int nvmlDeviceGetRemappedRows(const struct device *device, unsigned *corrected,
                              unsigned *uncorrected, unsigned *pending, unsigned *failed)
{
    *corrected = 0;
    *uncorrected = 0;
    *pending = (unsigned)health(device->pci, "pending");
    *failed = (unsigned)health(device->pci, "failed");
    return OK;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(const struct device *device, unsigned long long *ret)
{
    *ret = 1ULL | (unsigned long long)health(device->pci, "slow"); /* 1: idle */
    return OK;
}

int nvmlDeviceGetMigMode(const struct device *device, unsigned *mode, unsigned *pending)
{
    *mode = (unsigned)health(device->pci, "mig");
    *pending = (unsigned)health(device->pci, "mig-pending");
    return OK;
}
