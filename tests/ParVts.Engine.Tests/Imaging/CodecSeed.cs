namespace ParVts.Engine.Tests.Imaging;

/// <summary>
/// Tiny pictures (16 × 12) of the formats that native libraries read, made with Pillow 9.4, and the SHA-256 of what Pillow
/// decodes: upright, over white. They are the seeds of the fuzz tests, too.
/// </summary>
public sealed record CodecSeed(string Name, string Sha256, byte[] Data)
{
    public static readonly CodecSeed BaselineJpeg = Make(
        "BaselineJpeg",
        "3873c35b4518905e27e2513db8cac00f6c63dfa3f9eae78cd53865548067113a",
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8tMC0oMCUoKSj/
        2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCj/wAARCAAMABADASIAAhEBAxEB/8QA
        HwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkK
        FhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXG
        x8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAEC
        AxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOE
        hYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDyPR/Cedv7
        v9K7jR/B+dv7v9K7XRNNtvl+SvQNE0y1O35K+ShjJYj4hcMcS1lyn//Z
        """);

    public static readonly CodecSeed ProgressiveJpeg = Make(
        "ProgressiveJpeg",
        "3873c35b4518905e27e2513db8cac00f6c63dfa3f9eae78cd53865548067113a",
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8tMC0oMCUoKSj/
        2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCj/wgARCAAMABADASIAAhEBAxEB/8QA
        FQABAQAAAAAAAAAAAAAAAAAABQb/xAAVAQEBAAAAAAAAAAAAAAAAAAABBf/aAAwDAQACEAMQAAABkXGqCQf/xAAXEAEBAQEAAAAAAAAAAAAAAAADAAIE/9oA
        CAEBAAEFAh5IeOE8wnm//8QAFxEAAwEAAAAAAAAAAAAAAAAAAAIFIf/aAAgBAwEBPwGZSfD/xAAXEQADAQAAAAAAAAAAAAAAAAAAAQMx/9oACAECAQE/AVZ0
        0//EABYQAQEBAAAAAAAAAAAAAAAAADEAEP/aAAgBAQAGPwIjf//EABYQAQEBAAAAAAAAAAAAAAAAAAAhMf/aAAgBAQABPyHAwJonj//aAAwDAQACAAMAAAAQ
        P//EABURAQEAAAAAAAAAAAAAAAAAAAAB/9oACAEDAQE/EJj/xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oACAECAQE/EEP/xAAYEAADAQEAAAAAAAAAAAAAAAAA
        EdEBEP/aAAgBAQABPxBkBkOV3D//2Q==
        """);

    public static readonly CodecSeed GreyJpeg = Make(
        "GreyJpeg",
        "1b27c178573499606aa24c514e74b3a9a0c965af2e3f2ecc898807dc159286ef",
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8tMC0oMCUoKSj/
        wAALCAAMABABAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEI
        I0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ip
        qrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/API9H8J52/u/0ruNH8H52/u/0rtdE022+X5K9A0TTLU7
        fkr/2Q==
        """);

    public static readonly CodecSeed CmykJpeg = Make(
        "CmykJpeg",
        "87473e7d1766d0959edcdc152876e94c6ec85bfe8f8d934bdfcdd4f5c1a6c9db",
        """
        /9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUVFQwPFxgWFBgSFBUU/8AA
        FAgADAAQBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQci
        cRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeYmZqi
        o6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkASwAAPwD4/wD2bf8Al1/CvmT/AIZJ/wCn
        L/x2vzK8P+H/AO1dvy5zX6p1+qv7Nv8Ay6/hR/wyT/05f+O16X4f+C39q7f3Gc+1FflV+zb/AMuv4V+tH/CttB/59P1H+FU/hFZRXHkb1z0or9Vf2bf+XX8K
        P+FbaD/z6fqP8K+2/hF4V0648jfDnpRX/9k=
        """);

    public static readonly CodecSeed TurnedJpeg = Make(
        "TurnedJpeg",
        "4d6f743979ffd8b08cbe51d82a21eb76a6cb446556b9748fdbd051a71d47abd3",
        """
        /9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAgAAAAAAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikx
        MC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09P
        T09PT09PT09PT09PT0//wAARCAAMABADASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQID
        AAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWG
        h4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAA
        AAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5
        OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk
        5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDlbTSeny1s2uj9PlrZs7aLj5a3bO1i4+WvIjWdTcMszKasf//Z
        """);

    public static readonly CodecSeed LossyWebP = Make(
        "LossyWebP",
        "cc5f91376a0612018c1dae55ab1d4b4fff2dcda7359012a54406a6e91c7ccf09",
        """
        UklGRk4AAABXRUJQVlA4IEIAAAAQAgCdASoQAAwAAoBCJbACdLoAAwgvyOsAAP77GQaMnFWYO+XTLPuC4sV9nttrfpX2o3/4xV8FNV/2w1hP6WaAAAA=
        """);

    public static readonly CodecSeed LosslessWebP = Make(
        "LosslessWebP",
        "07406557f5d24e56eeeaaaa3433df2ff369ee20c8c97c2f7a2922d0c1af77808",
        """
        UklGRi4AAABXRUJQVlA4TCIAAAAvD8ACAJkyRPQ/NlH/6H+ASNumIu7f7tjxQExATABcB+s/
        """);

    public static readonly CodecSeed AlphaWebP = Make(
        "AlphaWebP",
        "b9d27ddd702483f05bfcdc434cf22493d5aa7b5efb6ba75cba887d530bb4663e",
        """
        UklGRpoAAABXRUJQVlA4WAoAAAAQAAAADwAACwAAQUxQSDEAAAABX0AmbRsSsHdpRMSeiA6EtO1kClOYwhRSSCGFFFJIIYX4rkNE/zNIimYwWWwOl8cHAFZQ
        OCBCAAAAEAIAnQEqEAAMAAKAQiWwAnS6AAMIL8h4AAD++xkGjJxVmDvl0yz7guLFfo/30V+HspaP3Br6YkFXzKaz33fEAAAA
        """);

    public static readonly CodecSeed LosslessAlphaWebP = Make(
        "LosslessAlphaWebP",
        "a2724561ad52d59889b2cbfaff7b4ae250f26e65daf57d06914a1e69addc6134",
        """
        UklGRkYAAABXRUJQVlA4TDoAAAAvD8ACEJkyRPQ/NlH/6H9AQds2TECEP912B8BATACZtG2qAnp2U5i0AdPdV0AmUUIS5RGyebw/UgIC
        """);

    public static readonly CodecSeed TurnedWebP = Make(
        "TurnedWebP",
        "306adb5418abdac0396fc42bc43ee703da601b797341151e5ddb72ced131153c",
        """
        UklGRoIAAABXRUJQVlA4WAoAAAAIAAAADwAACwAAVlA4IEIAAAAQAgCdASoQAAwAAoBCJbACdLoAAwgvyOsAAP77GQaMnFWYO+XTLPuC4sV9nttrfpX2o3/4
        xV8FNV/2w1hP6WaAAABFWElGGgAAAE1NACoAAAAIAAEBEgADAAAAAQAIAAAAAAAA
        """);

    /// <summary>Two pictures: refused.</summary>
    public static readonly CodecSeed AnimatedWebP = Make(
        "AnimatedWebP",
        "",
        """
        UklGRgoBAABXRUJQVlA4WAoAAAACAAAADwAACwAAQU5JTQYAAAAAAAAAAABBTk1GbAAAAAAAAAAAAA8AAAsAAMgAAAJWUDggVAAAAPABAJ0BKhAADAABQCYl
        sAADYv4cadg1gAD+/pJeSpSdOL+rnIdzELPdS5fE8ff//SVj0/scKf/80kK5yknv/PtT//l6Z8mf/5p97KgyD+Qug4gAAEFOTUZqAAAAAAAAAAAADwAACwAA
        ZAAAAFZQOCBSAAAAFAIAnQEqEAAMAAAAJiWwAANfHrnzPzZDQAD+80b+ZsjHBXzQcinv9tDs62ehi///INJr9ssG1/syHxXc3v//q9J+Sf/Bymf1Z4DdfdfR
        wYJIAA==
        """);

    /// <summary>All that decode.</summary>
    public static readonly CodecSeed[] Decodable =
    [
        BaselineJpeg, ProgressiveJpeg, GreyJpeg, CmykJpeg, TurnedJpeg,
        LossyWebP, LosslessWebP, AlphaWebP, LosslessAlphaWebP, TurnedWebP,
    ];

    public override string ToString() => Name;

    private static CodecSeed Make(string name, string sha256, string base64) => new(name, sha256, Convert.FromBase64String(base64));
}
