/*
 * A host with two threads: a session each on one engine, whose answers are those that one thread gets alone; an answer that another
 * thread cancels while it is decoded; a stream that nobody pulls to its end; and handles and arguments that are wrong.
 *
 *     two_threads MODEL PICTURE TOKENS
 */
#include "client.h"

static pv_engine engine;
static pv_prompt prompt;
static int tokens;

struct worker {
    const char *policy;
    struct answer answer;
};

/* One thread's whole work: a session, an answer, and what it left in the cache. */
static void *work(void *argument)
{
    struct worker *worker = argument;
    pv_session session;
    pv_result result;
    pv_options options = limit_to(tokens);
    CHECK(api->session_open(engine, worker->policy, &session, error));
    CHECK(api->generate(session, prompt, options, NULL, NULL, &result, error));
    CHECK(api->options_close(options, error));
    worker->answer = answer_of(session, result);
    REQUIRE(worker->answer.count == (size_t)tokens && worker->answer.layers > 0);
    CHECK(api->result_close(result, error));
    CHECK(api->session_close(session, error));
    return NULL;
}

static void two_threads_answer_as_one(void)
{
    struct worker alone[2] = {{.policy = "dense"}, {.policy = "parvts:keep=4"}};
    struct worker together[2] = {{.policy = "dense"}, {.policy = "parvts:keep=4"}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        work(&alone[i]);
    REQUIRE(!same(&alone[0].answer, &alone[1].answer)); /* the cache is shorter, at the least */
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, work, &together[i]) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        REQUIRE(same(&alone[i].answer, &together[i].answer));
        forget(&alone[i].answer);
        forget(&together[i].answer);
    }
}

struct canceller {
    pv_session session;
    atomic_int pieces;
};

static int32_t count_piece(void *user, const char *text, size_t bytes)
{
    REQUIRE(strlen(text) == bytes);
    atomic_fetch_add(&((struct canceller *)user)->pieces, 1);
    return 0;
}

static void *cancel_in_mid_decode(void *argument)
{
    struct canceller *canceller = argument;
    while (atomic_load(&canceller->pieces) < 2)
        wait_a_moment();
    size_t count;
    REQUIRE(api->session_kv_lengths(canceller->session, NULL, 0, &count, NULL) == PV_BUSY);
    CHECK(api->session_cancel(canceller->session, error));
    return NULL;
}

static void another_thread_cancels(void)
{
    struct canceller canceller = {0};
    pv_result result;
    pthread_t thread;
    pv_options options = limit_to(1000);
    CHECK(api->session_open(engine, "parvts:keep=4", &canceller.session, error));
    REQUIRE(pthread_create(&thread, NULL, cancel_in_mid_decode, &canceller) == 0);
    CHECK(api->generate(canceller.session, prompt, options, count_piece, &canceller, &result, error));
    pthread_join(thread, NULL);
    char *json = text_of(api->result_info, result);
    REQUIRE(strstr(json, "\"finish\":\"cancelled\"") != NULL);
    free(json);
    struct answer answer = answer_of(canceller.session, result);
    REQUIRE(answer.count >= 2 && answer.count < 1000 && answer.lengths[0] > 0);
    printf("KV rows by layer:");
    for (size_t layer = 0; layer < answer.layers; layer++)
        printf(" %" PRId32, answer.lengths[layer]);
    printf("\n");
    forget(&answer);
    CHECK(api->result_close(result, error));
    CHECK(api->session_close(canceller.session, error));
    CHECK(api->options_close(options, error));
}

static void a_stream_is_left(void)
{
    pv_session session;
    pv_stream stream;
    pv_options options = limit_to(1000);
    size_t count;
    CHECK(api->session_open(engine, NULL, &session, error));
    CHECK(api->stream_open(session, prompt, options, &stream, error));
    REQUIRE(api->stream_next(stream, NULL, 0, &count, NULL) == PV_TOO_SMALL);
    char *piece = malloc(count);
    CHECK(api->stream_next(stream, piece, count, &count, error));
    free(piece);
    CHECK(api->stream_close(stream, error));
    CHECK(api->session_close(session, error));
    CHECK(api->options_close(options, error));
}

static void what_is_wrong_is_a_status(void)
{
    pv_session session;
    size_t count;
    CHECK(api->session_open(engine, NULL, &session, error));
    CHECK(api->session_close(session, error));
    REQUIRE(api->session_close(session, NULL) == PV_BAD_HANDLE);
    REQUIRE(api->session_reset(session, NULL) == PV_BAD_HANDLE);
    REQUIRE(api->session_reset(engine, NULL) == PV_BAD_HANDLE);
    REQUIRE(api->session_close(0, NULL) == PV_OK);
    REQUIRE(api->session_open(engine, NULL, NULL, NULL) == PV_INVALID_ARGUMENT);
    REQUIRE(api->info(NULL, 5, &count, NULL) == PV_INVALID_ARGUMENT);

    /* The shortest memory that holds what is looked at. */
    uint32_t *small = malloc(sizeof *small);
    *small = sizeof *small;
    REQUIRE(api->session_reset(session, (pv_error *)(void *)small) == PV_INVALID_ARGUMENT);
    free(small);

    /* A message that is cut off at the end of its room. */
    pv_error *error = malloc(sizeof *error);
    error->struct_size = sizeof *error;
    char *name = malloc(5001);
    memset(name, 'x', 5000);
    name[5000] = 0;
    REQUIRE(api->session_open(engine, name, &session, error) == PV_BAD_REQUEST);
    REQUIRE(strlen(error->message) < sizeof error->message && strlen(error->hint) < sizeof error->hint);
    free(name);
    free(error);
}

int main(int count, char **arguments)
{
    REQUIRE(count == 4);
    tokens = atoi(arguments[3]);
    REQUIRE(parvts_get_api(PV_API_VERSION, &api, NULL) == PV_OK);
    REQUIRE(open_handles() == 0);
    engine = open_engine(arguments[1], 2);
    prompt = ask(engine, arguments[2], "what color is the circle?");
    two_threads_answer_as_one();
    another_thread_cancels();
    a_stream_is_left();
    what_is_wrong_is_a_status();
    CHECK(api->prompt_close(prompt, error));
    CHECK(api->engine_close(engine, error));
    REQUIRE(open_handles() == 0);
    printf("all is well\n");
    return 0;
}
