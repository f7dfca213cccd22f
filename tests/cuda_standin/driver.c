/* A stand-in for NVIDIA's driver library: enough of it for Taichi to compile for CUDA on a machine without a GPU.

   It describes one card. Device memory is heap memory, copies are memcpy, and a launch does nothing but tell the
   test about itself, as does the loading of a module, which is PTX text. The names, signatures and numbers are those of
   the public documentation of the CUDA driver API. Taichi looks up more functions than it calls: UNUSED answers those. */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef int CUresult;
typedef int CUdevice;
typedef uintptr_t CUdeviceptr;
typedef void *CUcontext, *CUmodule, *CUfunction, *CUstream, *CUevent, *CUmemoryPool;

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, NOT_SUPPORTED = 801 };

static const size_t ARENA = (size_t)64 << 30;

/* What the test sets and reads, by ctypes. */
void (*on_module)(const char *ptx);
void (*on_launch)(const char *kernel, const unsigned *grid_block_shared, CUstream stream, void **params);
CUresult launch_result = SUCCESS;
int compute_capability = 86;
uint64_t bytes_to_device, bytes_to_host;

#define NEEDS_CONTEXT \
    if (current == NULL) return INVALID_CONTEXT

static _Thread_local CUcontext current;
static char primary, pool;

/* Devices and contexts */

CUresult cuInit(unsigned flags) { return SUCCESS; }

CUresult cuDriverGetVersion(int *version) {
    *version = 12040;
    return SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
    *count = 1;
    return SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    *device = ordinal;
    return SUCCESS;
}

CUresult cuDeviceGetName(char *name, int len, CUdevice device) {
    strncpy(name, "no GPU, a stand-in", len);
    return SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    switch (attribute) {
        case 1: *value = 1024; break;       /* threads in a block */
        case 8: *value = 48 << 10; break;   /* bytes of shared memory in a block */
        case 10: *value = 32; break;        /* threads in a warp */
        case 12: *value = 65536; break;     /* registers of a block */
        case 16: *value = 84; break;        /* multiprocessors */
        case 39: *value = 1536; break;      /* threads on a multiprocessor */
        case 75: *value = compute_capability / 10; break;
        case 76: *value = compute_capability % 10; break;
        case 81: *value = 100 << 10; break; /* bytes of shared memory of a multiprocessor */
        case 97: *value = 99 << 10; break;  /* bytes of shared memory in a block that asks for it */
        case 106: *value = 16; break;       /* blocks on a multiprocessor */
        case 115: *value = 1; break;        /* memory pools */
        default: *value = 0;
    }
    return SUCCESS;
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *out, CUdevice device) {
    *out = &pool;
    return SUCCESS;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool of, int attribute, void *value) { return SUCCESS; }

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    *context = &primary;
    return SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
    *context = current = &primary;
    return SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
    *context = current;
    return SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    current = context;
    return SUCCESS;
}

CUresult cuCtxSetLimit(int limit, size_t value) {
    NEEDS_CONTEXT;
    return SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **name) {
    *name = error == INVALID_CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT" : "CUDA_ERROR_OF_THE_STAND_IN";
    return SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == INVALID_CONTEXT ? "invalid device context" : "an error that the test asked for";
    return SUCCESS;
}

/* Memory: one range of addresses, handed out once; what is in it is "on the device" */

static _Atomic CUdeviceptr unused;
static CUdeviceptr arena;
static pthread_once_t reserved = PTHREAD_ONCE_INIT;

static void reserve(void) {
    void *start = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    arena = unused = start == MAP_FAILED ? 0 : (CUdeviceptr)start;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
    NEEDS_CONTEXT;
    pthread_once(&reserved, reserve);
    *address = atomic_fetch_add(&unused, (bytes + 255) / 256 * 256);
    return arena && *address + bytes <= arena + ARENA ? SUCCESS : OUT_OF_MEMORY;
}

CUresult cuMemAllocAsync(CUdeviceptr *address, size_t bytes, CUstream stream) { return cuMemAlloc_v2(address, bytes); }

CUresult cuMemAllocManaged(CUdeviceptr *address, size_t bytes, unsigned flags) { return cuMemAlloc_v2(address, bytes); }

CUresult cuMemFree_v2(CUdeviceptr address) {
    NEEDS_CONTEXT;
    return SUCCESS;
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) { return cuMemFree_v2(address); }

CUresult cuMemGetInfo_v2(size_t *available, size_t *total) {
    NEEDS_CONTEXT;
    *available = *total = ARENA;
    return SUCCESS;
}

CUresult cuPointerGetAttribute(void *value, int attribute, CUdeviceptr address) {
    NEEDS_CONTEXT;
    int on_device = address - arena < ARENA;
    if (!on_device) return INVALID_VALUE;
    if (attribute == 2) *(unsigned *)value = 2; /* memory type: device */
    return attribute == 2 ? SUCCESS : NOT_SUPPORTED;
}

static CUresult copy(void *to, const void *from, size_t bytes, uint64_t *counter) {
    NEEDS_CONTEXT;
    memcpy(to, from, bytes);
    if (counter) *counter += bytes;
    return SUCCESS;
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
    return copy((void *)to, from, bytes, &bytes_to_device);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
    return copy((void *)to, from, bytes, &bytes_to_device);
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
    return copy(to, (void *)from, bytes, &bytes_to_host);
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return copy(to, (void *)from, bytes, &bytes_to_host);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return copy((void *)to, (void *)from, bytes, NULL);
}

CUresult cuMemsetD8_v2(CUdeviceptr address, unsigned char value, size_t count) {
    NEEDS_CONTEXT;
    memset((void *)address, value, count);
    return SUCCESS;
}

CUresult cuMemsetD32_v2(CUdeviceptr address, unsigned value, size_t count) {
    NEEDS_CONTEXT;
    for (size_t i = 0; i < count; i++) ((unsigned *)address)[i] = value;
    return SUCCESS;
}

/* Modules and launches: a function is its name */

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned n, int *options, void **values) {
    NEEDS_CONTEXT;
    *module = (CUmodule)image;
    if (on_module) on_module(image);
    return SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    NEEDS_CONTEXT;
    *function = strdup(name);
    return SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared, CUstream stream, void **params,
                        void **extra) {
    NEEDS_CONTEXT;
    unsigned sizes[] = {grid_x, block_x, shared};
    if (grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1) return INVALID_VALUE;
    if (on_launch) on_launch(function, sizes, stream, params);
    return launch_result;
}

CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction function) {
    *value = 0;
    return SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) { return SUCCESS; }

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int block, size_t shared) {
    *blocks = 1;
    return SUCCESS;
}

/* Streams and events: all is done at once */

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
    NEEDS_CONTEXT;
    *stream = &pool;
    return SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) {
    NEEDS_CONTEXT;
    return SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned flags) {
    *event = &pool;
    return SUCCESS;
}

CUresult cuEventDestroy(CUevent event) { return SUCCESS; }
CUresult cuEventRecord(CUevent event, CUstream stream) { return SUCCESS; }
CUresult cuEventSynchronize(CUevent event) { return SUCCESS; }

CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
    *milliseconds = 0;
    return SUCCESS;
}

/* Textures and memory shared with graphics */

#define UNUSED(name) \
    CUresult name(void) { return NOT_SUPPORTED; }

UNUSED(cuMemAdvise)
UNUSED(cuImportExternalMemory)
UNUSED(cuExternalMemoryGetMappedBuffer)
UNUSED(cuExternalMemoryGetMappedMipmappedArray)
UNUSED(cuMipmappedArrayGetLevel)
UNUSED(cuSurfObjectCreate)
UNUSED(cuImportExternalSemaphore)
UNUSED(cuSignalExternalSemaphoresAsync)
UNUSED(cuWaitExternalSemaphoresAsync)
