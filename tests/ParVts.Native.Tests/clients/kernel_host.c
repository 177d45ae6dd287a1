/*
 * A C runtime with memory, pages and a stream of its own, which calls parvts' kernels on them (include/parvts.h, "Kernels"). Loaded by
 * KernelHostTests, which gives it the table, a CUDA driver's functions, and what is to be computed; results come back as they lie
 * in memory, for a comparison to the bit.
 */
#include "parvts.h"

#include <stdio.h>
#include <string.h>

typedef struct driver {
    int (*allocate)(uint64_t *pointer, size_t bytes);
    int (*free)(uint64_t pointer);
    int (*upload)(uint64_t to, const void *from, size_t bytes, void *stream);
    int (*download)(void *to, uint64_t from, size_t bytes, void *stream);
    int (*create_stream)(void **stream, unsigned flags);
    int (*destroy_stream)(void *stream);
    int (*synchronize)(void *stream);
    int (*retain)(void **context, int device);
    int (*release)(int device);
    int (*push)(void *context);
    int (*pop)(void **context);
} driver;

typedef struct work {
    int32_t rows, keys, heads, kv_heads, head_dim, type, probed, pairs;
    float scale;
    const float *q;       /* [rows, heads * head_dim] */
    const uint16_t *k;    /* [keys, kv_heads * head_dim] */
    const uint16_t *v;
    const pv_attention_plan *plan;
    const int32_t *probed_rows; /* [probed] */
    const int32_t *first;       /* [pairs] rows of path A, and */
    const int32_t *second;      /* of path B */
    uint16_t *output;      /* [rows, heads * head_dim] */
    float *log_sum_exp;    /* [rows, heads] */
    float *probe;          /* [keys] */
    float *pre_probe;      /* [keys] */
    float *sums;           /* [2 * probed, keys] */
    float *squares;        /* [probed] */
    uint16_t *decode;      /* [heads * head_dim]: the last row over all keys */
    float *weights;        /* [pairs] */
    float *fused;          /* [rows, heads * head_dim]: the queries' rows, fused by the weights */
    char message[1024];
} work;

enum { MOST = 64 };

typedef struct host {
    const driver *cuda;
    void *stream;
    uint64_t memory[MOST];
    int count;
    int failed;
} host;

static uint64_t reserve(host *h, size_t bytes)
{
    uint64_t pointer = 0;
    if (h->count == MOST || h->cuda->allocate(&pointer, bytes) != 0) {
        h->failed = 1;
        return 0;
    }
    h->memory[h->count++] = pointer;
    return pointer;
}

static uint64_t send(host *h, const void *from, size_t bytes)
{
    uint64_t pointer = reserve(h, bytes);
    if (!h->failed && h->cuda->upload(pointer, from, bytes, h->stream) != 0)
        h->failed = 1;
    return pointer;
}

static pv_tensor matrix(uint64_t data, pv_type type, int32_t rows, int32_t columns)
{
    pv_tensor made = {.struct_size = sizeof made, .type = type, .data = (void *)(uintptr_t)data, .rows = rows, .columns = columns};
    return made;
}

/* A page of 64 rows: [keys, values][kv_heads][64][padded], zeros behind head_dim and behind the last row. */
static uint64_t page(host *h, const work *w, int number, int padded)
{
    static uint16_t made[2 * 8 * 64 * 256];
    if (w->kv_heads > 8 || padded > 256) {
        h->failed = 1;
        return 0;
    }
    memset(made, 0, sizeof made);
    for (int row = 0; row < 64 && number * 64 + row < w->keys; row++)
        for (int head = 0; head < w->kv_heads; head++)
            for (int half = 0; half < 2; half++) {
                const uint16_t *from = (half == 0 ? w->k : w->v) + ((size_t)(number * 64 + row) * (size_t)w->kv_heads + (size_t)head) * (size_t)w->head_dim;
                memcpy(made + ((size_t)(half * w->kv_heads + head) * 64 + (size_t)row) * (size_t)padded, from, (size_t)w->head_dim * 2);
            }
    return send(h, made, (size_t)2 * (size_t)w->kv_heads * 64 * (size_t)padded * 2);
}

static pv_status compute(const pv_api *api, host *h, void *context, work *w, pv_error *error)
{
    pv_kernels kernels = 0;
    pv_plan plan = 0;
    int columns = w->heads * w->head_dim, padded = (w->head_dim + 15) / 16 * 16, pages = (w->keys + 63) / 64;
    uint64_t table[MOST];
    for (int i = pages - 1; i >= 0; i--) /* pages may lie anywhere */
        table[i] = page(h, w, i, padded);
    pv_kv_layer layer = {
        .struct_size = sizeof layer, .type = w->type, .pages = (void **)(uintptr_t)send(h, table, (size_t)pages * 8), .length = w->keys,
        .heads = w->kv_heads, .head_dim = w->head_dim, .capacity = pages * 64};
    size_t rows = (size_t)w->rows, wide = (size_t)columns, keys = (size_t)w->keys, heads = (size_t)w->heads, probed = (size_t)w->probed;
    pv_tensor q = matrix(send(h, w->q, rows * wide * 4), PV_F32, w->rows, columns);
    pv_tensor output = matrix(reserve(h, rows * wide * 2), w->type, w->rows, columns);
    pv_tensor sums_of_rows = matrix(reserve(h, rows * heads * 4), PV_F32, w->rows, w->heads);
    pv_tensor named = matrix(send(h, w->probed_rows, probed * 4), PV_I32, 1, w->probed);
    pv_tensor probe = matrix(reserve(h, keys * 4), PV_F32, 1, w->keys);
    pv_tensor pre_probe = matrix(reserve(h, keys * 4), PV_F32, 1, w->keys);
    pv_tensor attended = matrix(send(h, w->q, probed * wide * 4), PV_F32, w->probed, columns);
    pv_tensor sums = matrix(reserve(h, 2 * probed * keys * 4), PV_F32, 2 * w->probed, w->keys);
    pv_tensor squares = matrix(reserve(h, probed * 4), PV_F32, 1, w->probed);
    pv_tensor last = matrix((uint64_t)(uintptr_t)q.data + (rows - 1) * wide * 4, PV_F32, 1, columns);
    pv_tensor decode = matrix(reserve(h, wide * 2), w->type, 1, columns);
    pv_tensor first = matrix(send(h, w->first, (size_t)w->pairs * 4), PV_I32, 1, w->pairs);
    pv_tensor second = matrix(send(h, w->second, (size_t)w->pairs * 4), PV_I32, 1, w->pairs);
    pv_tensor weights = matrix(reserve(h, (size_t)w->pairs * 4), PV_F32, 1, w->pairs);
    pv_tensor fused = matrix(send(h, w->q, rows * wide * 4), PV_F32, w->rows, columns);
    if (h->failed)
        return PV_NO_MEMORY;

    pv_status status = api->kernels_open("cuda", context, h->stream, 0, &kernels, error);
    if (status == PV_OK)
        status = api->plan_create(w->plan, &plan, error);
    if (status == PV_OK)
        status = api->segment_attention(kernels, &q, &layer, plan, w->scale, &output, &sums_of_rows, error);
    if (status == PV_OK)
        status = api->probe(kernels, &q, &layer, plan, w->scale, &sums_of_rows, &named, PV_MEAN_ALL, &probe, error);
    if (status == PV_OK)
        status = api->pre_probe(kernels, &q, &layer, plan, w->scale, &named, PV_MEAN_ALL, &pre_probe, error);
    if (status == PV_OK)
        status = api->value_probe(kernels, &q, &attended, &layer, plan, w->scale, &sums_of_rows, &named, &sums, &squares, error);
    if (status == PV_OK)
        status = api->decode_attention(kernels, &last, &layer, w->scale, &decode, error);
    if (status == PV_OK)
        status = api->path_weights(kernels, &sums_of_rows, &first, &second, &weights, error);
    if (status == PV_OK)
        status = api->fuse_paths(kernels, &fused, &first, &second, &weights, error);

    /* On the host's own stream: behind the kernels, and nothing has waited for them yet. */
    struct { void *to; const pv_tensor *from; size_t bytes; } results[] = {
        {w->output, &output, rows * wide * 2}, {w->log_sum_exp, &sums_of_rows, rows * heads * 4}, {w->probe, &probe, keys * 4},
        {w->pre_probe, &pre_probe, keys * 4}, {w->sums, &sums, 2 * probed * keys * 4}, {w->squares, &squares, probed * 4},
        {w->decode, &decode, wide * 2}, {w->weights, &weights, (size_t)w->pairs * 4}, {w->fused, &fused, rows * wide * 4}};
    for (size_t i = 0; status == PV_OK && i < sizeof results / sizeof results[0]; i++)
        if (h->cuda->download(results[i].to, (uint64_t)(uintptr_t)results[i].from->data, results[i].bytes, h->stream) != 0)
            status = PV_DEVICE_FAILED;
    if (h->cuda->synchronize(h->stream) != 0 && status == PV_OK)
        status = PV_DEVICE_FAILED;
    pv_status closed = api->plan_close(plan, NULL) | api->kernels_close(kernels, NULL);
    return status == PV_OK ? closed : status;
}

__attribute__((visibility("default"))) pv_status host_run(const pv_api *api, const driver *cuda, work *w)
{
    host h = {.cuda = cuda};
    pv_error error = {.struct_size = sizeof error};
    void *context = NULL, *popped = NULL;
    if (cuda->retain(&context, 0) != 0 || cuda->push(context) != 0 || cuda->create_stream(&h.stream, 1) != 0) {
        snprintf(w->message, sizeof w->message, "the driver refused");
        return PV_DEVICE_FAILED;
    }
    pv_status status = compute(api, &h, context, w, &error);
    snprintf(w->message, sizeof w->message, "%s", error.message);

    /* The library has left the current context as it was: everything here still works in it. */
    for (int i = 0; i < h.count; i++)
        h.failed |= cuda->free(h.memory[i]);
    h.failed |= cuda->destroy_stream(h.stream) | cuda->pop(&popped) | cuda->release(0);
    if (status == PV_OK && (h.failed || popped != context)) {
        snprintf(w->message, sizeof w->message, "the host's context is not what it was");
        return PV_INTERNAL;
    }
    return status;
}
