namespace ParVts.Engine.Text;

/// <summary>The chat templates of the supported families, as Jinja, for checkpoints that bring none and for comparisons.</summary>
internal static class BuiltInTemplates
{
    /// <summary>By name.</summary>
    public static IReadOnlyDictionary<string, string> All { get; } = new Dictionary<string, string>
    {
        // Images stand before the text of their turn.
        ["llava-1.5"] =
            "{% for message in messages %}"
            + "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
            + "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
            + "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}{% endfor %}"
            + "{% endfor %}"
            + "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",

        // The original LLaVA code's conversation "vicuna_v1": published figures use it. Its system prompt comes first,
        // answers end with </s>, and nothing stands between one and the next question.
        ["vicuna_v1"] =
            "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'][0]['text'] }}"
            + "{% else %}A chat between a curious human and an artificial intelligence assistant. "
            + "The assistant gives helpful, detailed, and polite answers to the human's questions.{% endif %}{{ ' ' }}"
            + "{% for message in messages %}"
            + "{% if message['role'] == 'user' %}{{ 'USER: ' }}"
            + "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
            + "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}{{ ' ' }}"
            + "{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' }}"
            + "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}{{ '</s>' }}"
            + "{% endif %}{% endfor %}"
            + "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",

        ["llava-next"] =
            "{% for message in messages %}"
            + "{% if message['role'] == 'system' %}{{ '<<SYS>>\\n' + message['content'][0]['text'] + '\\n<</SYS>>\\n\\n' }}"
            + "{% elif message['role'] == 'user' %}{{ '[INST] ' }}"
            + "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
            + "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}{{ ' [/INST]' }}"
            + "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'][0]['text'] + '</s> ' }}"
            + "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",

        ["qwen2-vl"] = Qwen,
        ["qwen2.5-vl"] = Qwen,

        ["internvl"] =
            "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
            + "{% for content in message['content'] %}"
            + "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
            + "{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}"
            + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",

        ["llava-onevision"] =
            "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
            + "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
            + "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\\n' + content['text'] }}{% endfor %}"
            + "{{ '<|im_end|>' }}{% endfor %}"
            + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    };

    private const string Qwen =
        "{% for message in messages %}"
        + "{% if loop.first and message['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
        + "{{ '<|im_start|>' + message['role'] + '\\n' }}"
        + "{% for content in message['content'] %}"
        + "{% if content['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}{% else %}{{ content['text'] }}{% endif %}"
        + "{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
}
