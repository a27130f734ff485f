/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libnvidia-ml.so.1 for tests. FAKE_NVML describes its devices, separated by ';': PCI address,
 * UUID, and the UUIDs of MIG devices: "0000:1b:00.0 GPU-1 MIG-1 MIG-2;0000:2b:00.0 GPU-2". Unset,
 * the library says that no driver is loaded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OK,
    ERROR_INVALID = 2,
    ERROR_NOT_FOUND = 6,
    ERROR_NO_DRIVER = 9,
    MAX_DEVICES = 64,
    MAX_MIG = 7
};

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
    if (text == NULL) {
        return ERROR_NO_DRIVER;
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
