/*
 * Attention over two parallel paths, as another runtime calls it: on its own pages, without a model (include/parvts.h, "Kernels").
 *
 *   cc -std=c11 -Iinclude examples/c/kernels.c -o two-paths -Lartifacts/native -lparvts -lm -Wl,-rpath,"$PWD/artifacts/native"
 *   ./two-paths
 *
 * It runs on the CPU, where memory is the host's and of float32. On a GPU the same calls take device pointers, 16-bit keys and values,
 * and the host's CUcontext and CUstream: kernels_open("cuda", context, stream, …).
 */
#include "parvts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PREFIX = 5, SUBJECT = 16, REST = 48, QUESTION = 7, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 32, PAGE = 64 };

/* [prefix | subject, question | rest, question]: path A goes on from the prefix, path B sees the prefix and itself. */
enum { PATH_B = PREFIX + SUBJECT + QUESTION, ROWS = PATH_B + REST + QUESTION, COLUMNS = HEADS * HEAD_DIM, PAGES = (ROWS + PAGE - 1) / PAGE };

typedef float page[2][KV_HEADS][PAGE][HEAD_DIM]; /* keys, values */

static int sees(int query, int key)
{
    return query < PATH_B ? key <= query : key < PREFIX || (key >= PATH_B && key <= query);
}

/* The same, straight from the formula. */
static double by_hand(const float *q, page *pages, int row, int head, int column, double *sum)
{
    double value = 0;
    *sum = 0;
    for (int key = 0; key < ROWS; key++) {
        double score = 0;
        page *at = &pages[key / PAGE];
        int kv_head = head / (HEADS / KV_HEADS);
        if (!sees(row, key))
            continue;
        for (int d = 0; d < HEAD_DIM; d++)
            score += (double)q[row * COLUMNS + head * HEAD_DIM + d] * (*at)[0][kv_head][key % PAGE][d];
        score = exp(score / sqrt(HEAD_DIM));
        *sum += score;
        value += score * (*at)[1][kv_head][key % PAGE][column];
    }
    return value / *sum;
}

static pv_tensor matrix(void *data, pv_type type, int32_t rows, int32_t columns)
{
    pv_tensor made = {.struct_size = sizeof made, .type = type, .data = data, .rows = rows, .columns = columns};
    return made;
}

static int failed(const pv_error *error)
{
    fprintf(stderr, "kernels: %s%s%s\n", error->message, error->hint[0] ? "; " : "", error->hint);
    return 1;
}

int main(void)
{
    static _Alignas(64) page pages[PAGES];
    static _Alignas(64) float q[ROWS * COLUMNS], output[ROWS * COLUMNS], sums[ROWS * HEADS], weights[QUESTION];
    static _Alignas(64) int32_t of_a[QUESTION], of_b[QUESTION];
    const pv_api *api;
    pv_error error = {.struct_size = sizeof error};
    pv_kernels kernels;
    pv_plan plan;

    for (size_t i = 0; i < sizeof pages / sizeof(float); i++)
        ((float *)pages)[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int i = 0; i < ROWS * COLUMNS; i++)
        q[i] = (float)rand() / (float)RAND_MAX * 4 - 2;
    for (int i = 0; i < QUESTION; i++) {
        of_a[i] = PREFIX + SUBJECT + i;
        of_b[i] = PATH_B + REST + i;
    }

    const pv_segment segments[] = {{.start = 0, .end = PATH_B, .first_range = 0, .range_count = 1}, {.start = PATH_B, .end = ROWS, .first_range = 1, .range_count = 2}};
    const pv_key_range ranges[] = {
        {.start = 0, .end = PATH_B, .rule = PV_SEE_DIAGONAL, .heads = -1},
        {.start = 0, .end = PREFIX, .rule = PV_SEE_ALL, .heads = -1},
        {.start = PATH_B, .end = ROWS, .rule = PV_SEE_DIAGONAL, .heads = -1}};
    const pv_attention_plan description = {
        .struct_size = sizeof description, .segments = segments, .segment_count = 2, .ranges = ranges, .range_count = 3};

    void *table[PAGES];
    for (int i = 0; i < PAGES; i++)
        table[i] = pages[i];
    const pv_kv_layer layer = {.struct_size = sizeof layer, .type = PV_F32, .pages = table, .length = ROWS, .heads = KV_HEADS, .head_dim = HEAD_DIM};
    pv_tensor queries = matrix(q, PV_F32, ROWS, COLUMNS), result = matrix(output, PV_F32, ROWS, COLUMNS), lse = matrix(sums, PV_F32, ROWS, HEADS);
    pv_tensor first = matrix(of_a, PV_I32, 1, QUESTION), second = matrix(of_b, PV_I32, 1, QUESTION), share = matrix(weights, PV_F32, 1, QUESTION);

    if (parvts_get_api(PV_API_VERSION, &api, &error) != PV_OK ||
        api->kernels_open("cpu", NULL, NULL, 0, &kernels, &error) != PV_OK ||
        api->plan_create(&description, &plan, &error) != PV_OK ||
        api->segment_attention(kernels, &queries, &layer, plan, 1 / sqrtf(HEAD_DIM), &result, &lse, &error) != PV_OK)
        return failed(&error);

    double worst = 0, sum;
    for (int row = 0; row < ROWS; row++)
        for (int column = 0; column < COLUMNS; column++) {
            double expected = by_hand(q, pages, row, column / HEAD_DIM, column % HEAD_DIM, &sum);
            worst = fmax(worst, fabs(expected - output[row * COLUMNS + column]));
            worst = fmax(worst, fabs(log(sum) - sums[row * HEADS + column / HEAD_DIM]));
        }
    printf("%d rows in two paths, largest difference from the formula: %.1e\n", ROWS, worst);

    /* The two copies of the question become one: by the attention mass of their paths. */
    if (api->path_weights(kernels, &lse, &first, &second, &share, &error) != PV_OK ||
        api->fuse_paths(kernels, &result, &first, &second, &share, &error) != PV_OK)
        return failed(&error);
    printf("path A's share of the question's rows: %.3f to %.3f\n", weights[0], weights[QUESTION - 1]);
    api->plan_close(plan, NULL);
    api->kernels_close(kernels, NULL);
    return worst < 1e-5 ? 0 : 1;
}
