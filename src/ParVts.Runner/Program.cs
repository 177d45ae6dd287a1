using System.Text;
using ParVts.Runner;

// What a model says is Unicode, whatever the terminal's locale.
Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
return Application.Run(args);
