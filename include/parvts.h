/*
 * ParVts.Native: vision-language models with visual-token schedules inside the decoder, from C.
 *
 * The library exports one function, parvts_get_api, which gives a table of functions. The table only ever grows at its
 * end: code compiled against an older header works with a newer library, and struct_size says what a library has.
 *
 * - Every call returns a pv_status. Where it is not PV_OK and the caller gave a pv_error, that holds a message that says
 *   what was wrong and where, and a hint what to do. The last argument of every call may be NULL.
 * - Handles are numbers, 0 is none. A handle that was closed, or that is of another kind, is PV_BAD_HANDLE; never a crash.
 *   Closing 0 is allowed and does nothing. What a handle was made of may be closed before it: an engine before its
 *   sessions, a session before its results.
 * - Text is UTF-8 and ends with a zero byte; text that a callback or pv_next hands out is always whole characters.
 * - Calls that hand out text or numbers write at most `capacity` elements and set *count to how many there are (text: bytes
 *   without the zero, which is written too where there is room). With a capacity of 0 the pointer may be NULL. Where not all
 *   fits, nothing is written and the status is PV_TOO_SMALL.
 * - Threads: engines, images and options that are no longer changed may be used by any thread. A session serves one call
 *   at a time (a second one is PV_BUSY), but cancel, close and kv_lengths of a session at rest come from any thread.
 * - Nothing global is changed: no environment, no current CUDA context, no locale. The process must not fork after the first
 *   call and go on in the child: there every call is PV_FORKED.
 */
#ifndef PARVTS_H
#define PARVTS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define PV_CALL __cdecl
#else
#define PV_CALL
#endif

#define PV_API_VERSION 1u

typedef int32_t pv_status;
enum {
    PV_OK = 0,
    PV_INVALID_ARGUMENT = 1, /* a null pointer, a wrong struct_size, a value out of range, an unknown option */
    PV_BAD_HANDLE = 2,       /* closed, of another kind, or never given */
    PV_TOO_SMALL = 3,        /* more than `capacity`; *count says how many */
    PV_BAD_FILE = 4,         /* a model, a picture or a saved session is missing or malformed */
    PV_BAD_REQUEST = 5,      /* cannot be served as asked: beyond the context, a policy that does not fit the model */
    PV_NO_MEMORY = 6,        /* beyond the cap, or beyond what there is */
    PV_NO_DEVICE = 7,        /* a device or a library is missing */
    PV_DEVICE_FAILED = 8,    /* a CUDA call failed; the engine may have to be opened anew */
    PV_BUSY = 9,             /* the session is in another call */
    PV_CANCELLED = 10,       /* pv_next: the answer was cut off by cancel, close or a deadline */
    PV_FORKED = 11,          /* the process was forked after the library was first used */
    PV_UNSUPPORTED = 12,     /* not in this version, or not on this processor */
    PV_INTERNAL = 13         /* a defect of the library; please report it */
};

typedef struct pv_error {
    uint32_t struct_size; /* sizeof(pv_error), set by the caller */
    pv_status status;
    char message[1024];
    char hint[512];
} pv_error;

typedef uint64_t pv_options;
typedef uint64_t pv_engine;
typedef uint64_t pv_image;
typedef uint64_t pv_prompt;
typedef uint64_t pv_session;
typedef uint64_t pv_stream;
typedef uint64_t pv_result;
typedef uint64_t pv_kernels;
typedef uint64_t pv_plan;

/* A piece of the answer. Return 0 to go on, anything else to cancel. */
typedef int32_t(PV_CALL *pv_text_callback)(void *user, const char *text, size_t bytes);

/* A warning, said once. Called on the thread that opens or runs. */
typedef void(PV_CALL *pv_log_callback)(void *user, const char *message);

/*
 * A policy written by the host. Before every layer of a prefill that has visual tokens it may let some of them leave.
 * `tokens` are those that are there, by index among the prompt's visual tokens; set keep[i] to 0 where tokens[i] leaves
 * from this layer on (all are 1 before the call). `scores` is NULL, or the attention that the last row paid to each of them
 * in the layer before, mean over heads (where ask_scores was 1; at layer 0 always NULL). Return 0, or anything else to
 * stop the run with PV_BAD_REQUEST. Called on the thread that generates.
 */
typedef int32_t(PV_CALL *pv_policy_callback)(
    void *user, int32_t layer, int32_t layers, const int32_t *tokens, const float *scores, uint8_t *keep, size_t count);

/* The logits [count] that a step chose its token from; step 0 is the first new token. Called on the thread that generates. */
typedef void(PV_CALL *pv_logits_callback)(void *user, int32_t step, const float *logits, size_t count);

/*
 * ---- Kernels on the host's own memory ----
 *
 * Element types. Keys, values and attention's outputs are PV_F16 or PV_BF16 on a GPU and PV_F32 on the CPU; queries, log-sum-exp and
 * what probes write are PV_F32, row numbers PV_I32.
 */
typedef int32_t pv_type;
enum { PV_F32 = 1, PV_F16 = 2, PV_BF16 = 3, PV_I32 = 4 };

/* A row-major matrix in memory of the host's: a device pointer, or a host pointer on the CPU; a multiple of 16 (PV_I32: of 4). */
typedef struct pv_tensor {
    uint32_t struct_size; /* sizeof(pv_tensor), set by the caller */
    pv_type type;
    void *data;
    int32_t rows;
    int32_t columns;
    int64_t stride; /* elements from a row to the next; 0 for `columns`. Rows begin at multiples of 16 bytes */
} pv_tensor;

/*
 * Keys and values of one layer, in pages of 64 rows. A page is [2][heads][64][head_dim rounded up to a multiple of 16]: all keys, then
 * all values; what lies behind head_dim is zero. Page p holds rows 64·p to 64·p + 63. On a GPU head_dim is a multiple of 8, at most 160.
 */
typedef struct pv_kv_layer {
    uint32_t struct_size; /* sizeof(pv_kv_layer), set by the caller */
    pv_type type;
    void **pages;             /* [number of pages] addresses of the pages; the table itself lies on the device, too */
    int32_t length;           /* rows that are there */
    int32_t heads;            /* KV heads */
    int32_t head_dim;
    int32_t capacity;         /* rows that the table has room for, or 0 for `length`; decode_attention shares its work out by it */
    const int32_t *length_at; /* NULL, or of decode_attention: device memory with the rows before the newest, read instead of `length` */
} pv_kv_layer;

/* Query rows [start, end), and their key ranges: range_count of them from first_range on. */
typedef struct pv_segment {
    int32_t start;
    int32_t end;
    int32_t first_range;
    int32_t range_count;
} pv_segment;

enum {
    PV_SEE_ALL = 0,      /* every query of the segment sees every key of the range */
    PV_SEE_DIAGONAL = 1, /* key i of the range is seen from query i of the segment on: causal order */
    PV_SEE_WINDOW = 2,   /* both are the cells of one grid in raster order; a query sees the square of `window` cells round its own */
    PV_VALUE_OWN = 0,    /* a key that is seen adds its own value */
    PV_VALUE_NONE = 1,   /* it counts in the softmax denominator only */
    PV_VALUE_SINK = 2    /* it adds its probability times the value of row `sink_row` */
};

/* Keys [start, end) of the layer that a segment sees. Ranges of a segment do not overlap, unless `heads` tells them apart. */
typedef struct pv_key_range {
    int32_t start;
    int32_t end;
    int32_t rule;  /* PV_SEE_… */
    int32_t value; /* PV_VALUE_… */
    int32_t sink_row;
    int32_t window;     /* odd */
    int32_t grid_width; /* cells in a row of the grid */
    int32_t heads;      /* a mask of the plan's whose heads skip the range, or -1 */
} pv_key_range;

/* Who sees whom, in flat arrays of host memory, which are copied. Segments do not overlap; rows of none get zeros. */
typedef struct pv_attention_plan {
    uint32_t struct_size; /* sizeof(pv_attention_plan), set by the caller */
    uint32_t head_mask_words; /* words of one mask of heads: (query heads + 31) / 32 */
    const pv_segment *segments;
    size_t segment_count;
    const pv_key_range *ranges;
    size_t range_count;
    const uint32_t *key_mask; /* bit k % 32 of word k / 32 is set where key row k is there; NULL: all are */
    size_t key_mask_words;
    const float *key_bias; /* added to the scaled score of each key row; NULL for none */
    size_t key_bias_count;
    const uint32_t *head_masks; /* [head_mask_count][head_mask_words]: a set bit is a head that skips the ranges which name the mask */
    size_t head_mask_count;
} pv_attention_plan;

enum {
    PV_MEAN_HEADS = 0, /* a row of probabilities for each named row: mean over heads */
    PV_MEAN_ROWS = 1,  /* for each head: mean over the named rows */
    PV_MEAN_ALL = 2    /* one row: mean over both */
};

typedef struct pv_api {
    uint32_t struct_size; /* of this table, in the library that is loaded */
    uint32_t version;

    /*
     * The library as JSON: version, runtime, architecture, what it uses of the processor ("simd", "vector_bits": as the runner's doctor says
     * it), logical_processors, open_handles (of this process, for a host that looks for handles that it never closed).
     */
    pv_status(PV_CALL *info)(char *json, size_t capacity, size_t *count, pv_error *error);

    /*
     * Options by name; which there are, is said by the calls that take them. An unknown name, a wrong kind of value or one
     * that is out of range is refused at once, with what is allowed.
     * Of "engine":     device (text: auto, cpu, cuda:0, cuda:UUID), threads, map (0 or 1), memory_cap (bytes), log (see below)
     * Of "generation": max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed, stop (text, may be given several
     *                  times), ignore_eos (0 or 1), keep_logits (0 or 1), deadline_ms, log_probabilities (alternatives a token, 0 to 100),
     *                  hidden_layer (may be given several times)
     * Of "kernels":    threads (of the CPU), cache_folder (text: where compiled kernels are kept)
     */
    pv_status(PV_CALL *options_create)(const char *kind, pv_options *options, pv_error *error);
    pv_status(PV_CALL *options_set_text)(pv_options options, const char *name, const char *value, pv_error *error);
    pv_status(PV_CALL *options_set_int)(pv_options options, const char *name, int64_t value, pv_error *error);
    pv_status(PV_CALL *options_set_real)(pv_options options, const char *name, double value, pv_error *error);
    pv_status(PV_CALL *options_set_log)(pv_options options, pv_log_callback callback, void *user, pv_error *error);
    pv_status(PV_CALL *options_close)(pv_options options, pv_error *error);

    /* A model: a folder in Hugging Face's form. options: of "engine", or 0. */
    pv_status(PV_CALL *engine_open)(const char *directory, pv_options options, pv_engine *engine, pv_error *error);
    /* As JSON: device, layers, hidden, vocabulary, visual_tokens_per_image, context, image_token, weights_bytes, load_ms. */
    pv_status(PV_CALL *engine_info)(pv_engine engine, char *json, size_t capacity, size_t *count, pv_error *error);
    pv_status(PV_CALL *engine_close)(pv_engine engine, pv_error *error);

    pv_status(PV_CALL *tokenize)(
        pv_engine engine, const char *text, int32_t *tokens, size_t capacity, size_t *count, pv_error *error);
    pv_status(PV_CALL *detokenize)(
        pv_engine engine, const int32_t *tokens, size_t token_count, char *text, size_t capacity, size_t *count, pv_error *error);

    /* Pictures, ready for the model. aspect: "model" (as its files say), "pad", "crop" or "stretch"; NULL is "model". */
    pv_status(PV_CALL *image_load)(
        pv_engine engine, const char *path, const char *aspect, pv_image *image, pv_error *error);
    /* A file's bytes: JPEG, PNG, WebP, BMP, PPM. */
    pv_status(PV_CALL *image_decode)(
        pv_engine engine, const uint8_t *bytes, size_t size, const char *aspect, pv_image *image, pv_error *error);
    /* RGB pixels, [height, width, 3], 8 bits. */
    pv_status(PV_CALL *image_pixels)(
        pv_engine engine, const uint8_t *pixels, int32_t width, int32_t height, const char *aspect, pv_image *image,
        pv_error *error);
    pv_status(PV_CALL *image_close)(pv_image image, pv_error *error);

    /*
     * A prompt is the whole conversation: what it shares with a session's cache from its beginning on is not computed again.
     * Parts are added in order; parts of the same role that follow each other are one message ("system", "user",
     * "assistant"). template: NULL or "auto" for the checkpoint's own, or a name that the runner's --template takes.
     */
    pv_status(PV_CALL *prompt_create)(pv_engine engine, const char *template_name, pv_prompt *prompt, pv_error *error);
    pv_status(PV_CALL *prompt_add_text)(pv_prompt prompt, const char *role, const char *text, pv_error *error);
    pv_status(PV_CALL *prompt_add_image)(pv_prompt prompt, const char *role, pv_image image, pv_error *error);
    /* Instead of parts: token ids as they are, with one image token for each visual token, and the pictures in order. */
    pv_status(PV_CALL *prompt_set_tokens)(
        pv_prompt prompt, const int32_t *tokens, size_t token_count, const pv_image *images, size_t image_count,
        pv_error *error);
    /* The token ids that a run would take. */
    pv_status(PV_CALL *prompt_tokens)(
        pv_prompt prompt, int32_t *tokens, size_t capacity, size_t *count, pv_error *error);
    pv_status(PV_CALL *prompt_close)(pv_prompt prompt, pv_error *error);

    /* A KV cache under a policy: "dense", "parvts:keep=64", … or "@file.json"; NULL is "dense". */
    pv_status(PV_CALL *session_open)(pv_engine engine, const char *policy, pv_session *session, pv_error *error);
    /* Another policy; the cache is emptied. */
    pv_status(PV_CALL *session_set_policy)(pv_session session, const char *policy, pv_error *error);
    /* The host's own policy; ask_scores is 0 or 1. The cache is emptied. */
    pv_status(PV_CALL *session_set_policy_callback)(
        pv_session session, pv_policy_callback callback, void *user, int32_t ask_scores, pv_error *error);
    pv_status(PV_CALL *session_reset)(pv_session session, pv_error *error);
    /* Ends the call that is under way in the session, if there is one; the cache stays usable. Any thread. */
    pv_status(PV_CALL *session_cancel)(pv_session session, pv_error *error);
    /* Rows in each layer's KV cache. */
    pv_status(PV_CALL *session_kv_lengths)(
        pv_session session, int32_t *lengths, size_t capacity, size_t *count, pv_error *error);
    /* As JSON: policy, cached_tokens, kv_bytes, trace (rows, keys, pairs, FLOPs by layer; every decision). */
    pv_status(PV_CALL *session_info)(pv_session session, char *json, size_t capacity, size_t *count, pv_error *error);
    pv_status(PV_CALL *session_close)(pv_session session, pv_error *error);

    /*
     * Answers a prompt; options: of "generation", or 0. on_text may be NULL; it is called on this thread, also with what a
     * deadline left. A cancelled or late answer is PV_OK with finish "cancelled" in the result.
     */
    pv_status(PV_CALL *generate)(
        pv_session session, pv_prompt prompt, pv_options options, pv_text_callback on_text, void *user, pv_result *result,
        pv_error *error);

    /* The same, pulled: the answer is computed on a thread of the library's and waits for whoever pulls. */
    pv_status(PV_CALL *stream_open)(
        pv_session session, pv_prompt prompt, pv_options options, pv_stream *stream, pv_error *error);
    /* The next piece; waits for it. *count is 0 when the answer is over, for whatever reason: stream_result says which. */
    pv_status(PV_CALL *stream_next)(
        pv_stream stream, char *text, size_t capacity, size_t *count, pv_error *error);
    /* Waits for the end; what went wrong in the run is this call's status. */
    pv_status(PV_CALL *stream_result)(pv_stream stream, pv_result *result, pv_error *error);
    /* Cancels what is still running. */
    pv_status(PV_CALL *stream_close)(pv_stream stream, pv_error *error);

    pv_status(PV_CALL *result_text)(pv_result result, char *text, size_t capacity, size_t *count, pv_error *error);
    pv_status(PV_CALL *result_tokens)(
        pv_result result, int32_t *tokens, size_t capacity, size_t *count, pv_error *error);
    /* Logits of the first new token, where keep_logits was set; else PV_BAD_REQUEST. */
    pv_status(PV_CALL *result_logits)(
        pv_result result, float *logits, size_t capacity, size_t *count, pv_error *error);
    /* As JSON: text, tokens, finish, counts, times_ms, memory_bytes, trace. */
    pv_status(PV_CALL *result_info)(pv_result result, char *json, size_t capacity, size_t *count, pv_error *error);
    pv_status(PV_CALL *result_close)(pv_result result, pv_error *error);

    /* A picture as rows of the decoder's width, made by a tower and projector of the host's: [count / hidden, hidden]. */
    pv_status(PV_CALL *image_embeddings)(
        pv_engine engine, const float *rows, size_t count, pv_image *image, pv_error *error);
    /*
     * The visual tokens that stay, counted from 0 over the pictures of a prefill; all others leave at the entry of `layer`, or where it
     * is -1 before the decoder. token_count 0: all leave. The cache is emptied.
     */
    pv_status(PV_CALL *session_set_keep_list)(
        pv_session session, const int32_t *tokens, size_t token_count, int32_t layer, pv_error *error);
    /* Receives the logits of every step; callback NULL: no more. They cost a copy of the vocabulary a token. */
    pv_status(PV_CALL *session_set_logits)(
        pv_session session, pv_logits_callback callback, void *user, pv_error *error);
    /* What a run would take, as JSON: memory_bytes by category, and the trace of a prefill. Nothing is computed; options: of "generation", or 0. */
    pv_status(PV_CALL *session_plan)(
        pv_session session, pv_prompt prompt, pv_options options, char *json, size_t capacity, size_t *count, pv_error *error);
    /* Writes the cache to a file, which is replaced only once it is complete. */
    pv_status(PV_CALL *session_save)(pv_session session, const char *path, pv_error *error);
    /* Takes up a saved cache of the same model, policy and type. Where it cannot (PV_BAD_FILE says why), the session is empty. */
    pv_status(PV_CALL *session_restore)(pv_session session, const char *path, pv_error *error);

    /* The log-probability of each new token; PV_BAD_REQUEST where log_probabilities was not set. */
    pv_status(PV_CALL *result_log_probabilities)(
        pv_result result, float *log_probabilities, size_t capacity, size_t *count, pv_error *error);
    /* The likeliest tokens of a step, best first, and their log-probabilities; both buffers have room for `capacity`. */
    pv_status(PV_CALL *result_alternatives)(
        pv_result result, int32_t step, int32_t *tokens, float *log_probabilities, size_t capacity, size_t *count,
        pv_error *error);
    /* The rows [count / hidden, hidden] of the prefill that entered a layer which hidden_layer named. */
    pv_status(PV_CALL *result_hidden)(
        pv_result result, int32_t layer, float *rows, size_t capacity, size_t *count, pv_error *error);
    /* Of each of these rows its index in the prompt, and its path: 0 shared, 1 the subject's, 2 the rest's. */
    pv_status(PV_CALL *result_hidden_rows)(
        pv_result result, int32_t layer, int32_t *tokens, int32_t *paths, size_t capacity, size_t *count, pv_error *error);

    /*
     * Kernels alone, on memory, context and stream of the host's: what another runtime needs for attention over parallel paths.
     * device: "cuda" with a CUcontext and a CUstream (NULL: the default stream), which must outlive the handle; or "cpu", both NULL.
     * Calls on a GPU only queue work: errors of a kernel show up when the host waits. Row numbers in device memory are not checked there.
     * A kernel is compiled, and scratch memory allocated, when a call first needs it: call once before a stream is captured.
     * One call at a time (else PV_BUSY); once warm, nothing is allocated. options: of "kernels", or 0.
     */
    pv_status(PV_CALL *kernels_open)(
        const char *device, void *cu_context, void *cu_stream, pv_options options, pv_kernels *kernels, pv_error *error);
    pv_status(PV_CALL *kernels_close)(pv_kernels kernels, pv_error *error);
    pv_status(PV_CALL *plan_create)(const pv_attention_plan *description, pv_plan *plan, pv_error *error);
    pv_status(PV_CALL *plan_close)(pv_plan plan, pv_error *error);

    /*
     * softmax(scale · q·kT) · v over the keys that the plan shows each row. q and output: [rows, heads · head_dim], not overlapping, the
     * output of the keys' type; log_sum_exp: [rows, heads], or NULL. A plan is sent to the device once for calls that follow each other.
     */
    pv_status(PV_CALL *segment_attention)(
        pv_kernels kernels, const pv_tensor *q, const pv_kv_layer *layer, pv_plan plan, float scale, pv_tensor *output,
        pv_tensor *log_sum_exp, pv_error *error);
    /* One new row over every key of the layer, its own included. q and output: [1, heads · head_dim]. */
    pv_status(PV_CALL *decode_attention)(
        pv_kernels kernels, const pv_tensor *q, const pv_kv_layer *layer, float scale, pv_tensor *output, pv_error *error);
    /*
     * Probabilities of the query rows that row_numbers [1, n] names, from q, keys and the log_sum_exp of segment_attention; reduction:
     * PV_MEAN_…. output: [n, length], [heads, length] or [1, length].
     */
    pv_status(PV_CALL *probe)(
        pv_kernels kernels, const pv_tensor *q, const pv_kv_layer *layer, pv_plan plan, float scale,
        const pv_tensor *log_sum_exp, const pv_tensor *row_numbers, int32_t reduction, pv_tensor *output, pv_error *error);
    /* The same before the layer's attention has run: it makes the log-sum-exp of the named rows itself. */
    pv_status(PV_CALL *pre_probe)(
        pv_kernels kernels, const pv_tensor *q, const pv_kv_layer *layer, pv_plan plan, float scale,
        const pv_tensor *row_numbers, int32_t reduction, pv_tensor *output, pv_error *error);
    /*
     * VisiPruner's sums for named rows, of which `attended` [n, heads · head_dim] holds the attention's output O in PV_F32: sums
     * [2n, length] gets for each row a line of A_j = sum over heads of p·<O, v_j> and a line of B_j = sum over heads of p²·|v_j|²; squares
     * [1, n] gets |O|².
     */
    pv_status(PV_CALL *value_probe)(
        pv_kernels kernels, const pv_tensor *q, const pv_tensor *attended, const pv_kv_layer *layer, pv_plan plan, float scale,
        const pv_tensor *log_sum_exp, const pv_tensor *row_numbers, pv_tensor *sums, pv_tensor *squares, pv_error *error);
    /* Path fusion by mass: weights [1, n] = mean over heads of sigmoid(lse[first] - lse[second]); first, second: [1, n]. */
    pv_status(PV_CALL *path_weights)(
        pv_kernels kernels, const pv_tensor *log_sum_exp, const pv_tensor *first, const pv_tensor *second, pv_tensor *weights,
        pv_error *error);
    /* x[first] = weights · x[first] + (1 - weights) · x[second], in place. x: [rows, columns] of PV_F32; no row is named twice. */
    pv_status(PV_CALL *fuse_paths)(
        pv_kernels kernels, pv_tensor *x, const pv_tensor *first, const pv_tensor *second, const pv_tensor *weights,
        pv_error *error);
} pv_api;

/*
 * The library's table. version: PV_API_VERSION as compiled against. PV_UNSUPPORTED where the library is older, or where the
 * processor lacks what it was built for. The table lives as long as the process.
 */
#if defined(_WIN32)
__declspec(dllimport)
#endif
pv_status PV_CALL parvts_get_api(uint32_t version, const pv_api **api, pv_error *error);

#ifdef __cplusplus
}
#endif

#endif
