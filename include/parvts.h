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

typedef struct pv_api {
    uint32_t struct_size; /* of this table, in the library that is loaded */
    uint32_t version;

    /* The library as JSON: version, build, processor path ("simd", "vector_bits"), devices. */
    pv_status(PV_CALL *info)(char *json, size_t capacity, size_t *count, pv_error *error);

    /*
     * Options by name; which there are, is said by the calls that take them. An unknown name, a wrong kind of value or one
     * that is out of range is refused at once, with what is allowed.
     * Of "engine":     device (text: auto, cpu, cuda:0, cuda:UUID), threads, map (0 or 1), memory_cap (bytes), log (see below)
     * Of "generation": max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed, stop (text, may be given several
     *                  times), ignore_eos (0 or 1), keep_logits (0 or 1), deadline_ms
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
