/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cause_marks.h"

#include "muster/lines.h"

static const char raise_shm[] =
    "/dev/shm is too small for what passes between processes: enlarge it (containers: --shm-size, "
    "--ipc=host), or use fewer DataLoader workers";
static const char check_gpu[] = "the GPU or its driver is at fault: look for NVRM Xid lines in the "
                                "kernel log of that node, and take it out";
static const char blocking[] =
    "kernels fail later than they are called: CUDA_LAUNCH_BLOCKING=1 shows the call";
static const char one_gpu_each[] =
    "two ranks use one GPU: torch.cuda.set_device(int(os.environ[\"LOCAL_RANK\"]))";
static const char raise_files[] = "raise the limit on open files (ulimit -n), or leak fewer";

/* What says most comes first: an out-of-memory error within an NCCL error is the former. */
static const struct cause_mark marks[] = {
    /* GPU memory */
    {"CUDA out of memory. Tried to allocate", NULL, CAUSE_CUDA_OOM, NULL},
    {"OutOfMemoryError", NULL, CAUSE_CUDA_OOM, NULL},
    {"CUDA error: out of memory", NULL, CAUSE_CUDA_OOM, NULL},
    {"Cuda failure 'out of memory'", NULL, CAUSE_CUDA_OOM, NULL},
    {"Cuda failure 2 'out of memory'", NULL, CAUSE_CUDA_OOM, NULL},
    {"CUDA driver error: out of memory", NULL, CAUSE_CUDA_OOM, NULL},
    {"HIP out of memory. Tried to allocate", NULL, CAUSE_CUDA_OOM, NULL},
    {"XPU out of memory. Tried to allocate", NULL, CAUSE_CUDA_OOM, NULL},

    /* shared memory, before disk and bus errors */
    {"insufficient shared memory (shm)", NULL, CAUSE_SHM_FULL, raise_shm},
    {"are out of shared memory", NULL, CAUSE_SHM_FULL, raise_shm},
    {"unable to allocate shared memory(shm)", NULL, CAUSE_SHM_FULL, raise_shm},
    {"No space left on device", "/dev/shm", CAUSE_SHM_FULL, raise_shm},
    {"No space left on device", "/torch_", CAUSE_SHM_FULL, raise_shm},
    {"while creating shared memory segment", "No space left on device", CAUSE_SHM_FULL, raise_shm},

    /* a peer, the network, the store: consequences */
    {"ncclRemoteError", NULL, CAUSE_PEER_LOST, NULL},
    {"remote process exited or there was a network error", NULL, CAUSE_PEER_LOST, NULL},
    {"Watchdog caught collective operation timeout", NULL, CAUSE_TIMEOUT, NULL},
    {"Some NCCL operations have failed or timed out", NULL, CAUSE_TIMEOUT, NULL},
    {"NCCL communicator was aborted", NULL, CAUSE_PEER_LOST, NULL},
    {"Flight recorder dump signal from another rank", NULL, CAUSE_TIMEOUT, NULL},
    {"Connection closed by remote peer", NULL, CAUSE_PEER_LOST, NULL},
    {"onnection closed by peer", NULL, CAUSE_PEER_LOST, NULL},
    {"Application timeout caused pair closure", NULL, CAUSE_TIMEOUT, NULL},
    {"for recv operation to complete", "Timed out waiting", CAUSE_TIMEOUT, NULL},
    {"for send operation to complete", "Timed out waiting", CAUSE_TIMEOUT, NULL},
    {"timed out in monitoredBarrier", NULL, CAUSE_TIMEOUT, NULL},
    {"failed to pass monitoredBarrier", NULL, CAUSE_TIMEOUT, NULL},
    {"Did the remote server shutdown or crash?", NULL, CAUSE_STORE_LOST, NULL},
    {"The client socket has failed to connect", NULL, CAUSE_STORE_LOST, NULL},
    {"The client socket has timed out", NULL, CAUSE_STORE_LOST, NULL},
    {"clients joined.", "waiting for clients", CAUSE_TIMEOUT, NULL},
    {"DistStoreError", "wait timeout after", CAUSE_TIMEOUT, NULL},
    {"DistStoreError", "Socket Timeout", CAUSE_TIMEOUT, NULL},
    {"Socket Timeout", NULL, CAUSE_TIMEOUT, NULL},
    {"wait timeout after", "keys:", CAUSE_TIMEOUT, NULL},
    {"barrier timeout after", "key:", CAUSE_TIMEOUT, NULL},
    {"EADDRINUSE", NULL, CAUSE_ADDRESS_IN_USE, NULL},
    {"ddress already in use", NULL, CAUSE_ADDRESS_IN_USE, NULL},
    {"DistNetworkError", NULL, CAUSE_STORE_LOST, NULL},
    {"onnection reset by peer", NULL, CAUSE_PEER_LOST, NULL},
    {"Broken pipe", NULL, CAUSE_PEER_LOST, NULL},
    {"socketPollConnect", "Connection refused", CAUSE_PEER_LOST, NULL},
    {"ncclSystemError", "Connection refused", CAUSE_PEER_LOST, NULL},

    /* the GPU */
    {"device-side assert triggered", NULL, CAUSE_CUDA_ERROR, blocking},
    {"an illegal memory access was encountered", NULL, CAUSE_CUDA_ERROR, blocking},
    {"no kernel image is available for execution on the device", NULL, CAUSE_CUDA_ERROR,
     "this build of PyTorch has no code for that GPU: install one that has"},
    {"uncorrectable ECC error", NULL, CAUSE_CUDA_ERROR, check_gpu},
    {"uncorrectable NVLink error", NULL, CAUSE_CUDA_ERROR, check_gpu},
    {"CUDA error: ", NULL, CAUSE_CUDA_ERROR, NULL},
    {"HIP error: ", NULL, CAUSE_CUDA_ERROR, NULL},
    {"CUDA driver version is insufficient", NULL, CAUSE_CUDA_ERROR, NULL},
    {"No CUDA GPUs are available", NULL, CAUSE_CUDA_ERROR, NULL},
    {"CUDNN_STATUS_", NULL, CAUSE_CUDA_ERROR, NULL},
    {"CUBLAS_STATUS_", NULL, CAUSE_CUDA_ERROR, NULL},
    {"Duplicate GPU detected", NULL, CAUSE_NCCL_ERROR, one_gpu_each},
    {"NCCL error", NULL, CAUSE_NCCL_ERROR, NULL},
    {"ncclSystemError", NULL, CAUSE_NCCL_ERROR, NULL},
    {"ncclInternalError", NULL, CAUSE_NCCL_ERROR, NULL},
    {"ncclUnhandledCudaError", NULL, CAUSE_NCCL_ERROR, NULL},
    {"ncclInvalidUsage", NULL, CAUSE_NCCL_ERROR, NULL},

    /* the system */
    {"No space left on device", NULL, CAUSE_DISK_FULL, NULL},
    {"Disk quota exceeded", NULL, CAUSE_DISK_FULL, NULL},
    {"Too many open files", NULL, CAUSE_OPEN_FILES, raise_files},
    {"ermission denied", NULL, CAUSE_PERMISSION, NULL},
    {"Operation not permitted", NULL, CAUSE_PERMISSION, NULL},
    {"Cannot allocate memory", NULL, CAUSE_HOST_MEMORY, NULL},
    {"can't allocate memory", NULL, CAUSE_HOST_MEMORY, NULL},
    {"std::bad_alloc", NULL, CAUSE_HOST_MEMORY, NULL},
    {"MemoryError", NULL, CAUSE_HOST_MEMORY, NULL},

    /* Python */
    {"maximum recursion depth exceeded", NULL, CAUSE_STACK_OVERFLOW, NULL},
    {"KeyboardInterrupt", NULL, CAUSE_INTERRUPT, NULL},
    {"ModuleNotFoundError: ", NULL, CAUSE_IMPORT, NULL},
    {"ImportError: ", NULL, CAUSE_IMPORT, NULL},
    {"SyntaxError: ", NULL, CAUSE_SYNTAX, NULL},
    {"IndentationError: ", NULL, CAUSE_SYNTAX, NULL},
    {"TabError: ", NULL, CAUSE_SYNTAX, NULL},
};

const struct cause_mark *cause_marks_find(struct mu_slice text, const char **ret_at)
{
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const char *at = lines_find(text, marks[i].words);
        if (at != NULL && (marks[i].also == NULL || lines_find(text, marks[i].also) != NULL)) {
            *ret_at = at;
            return &marks[i];
        }
    }
    return NULL;
}
