// Compares the messages, enums and services that proto/ declares with those of Vitess's Go module, strictly and both ways, but for one service.
// The only argument is a file with ours, as the example `descriptors` of vtmigrated-proto writes it.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "vitess.io/vitess/go/vt/proto/queryservice"
	_ "vitess.io/vitess/go/vt/proto/tabletmanagerservice"
	_ "vitess.io/vitess/go/vt/proto/vtctlservice"
	_ "vitess.io/vitess/go/vt/proto/vtorcdata"
)

// Fewer than this would mean that nothing was compared.
const atLeast = 3000

// The service of mysqlctld, which is not for those who talk to a vtctld or to tablets.
const unused = "mysqlctl.MysqlCtl"

// What is declared, by full name: messages, fields, enums, values, services, methods.
type declarations map[string]string

func (all declarations) message(in protoreflect.FullName, message *descriptorpb.DescriptorProto) {
	name := in.Append(protoreflect.Name(message.GetName()))
	all["message "+string(name)] = fmt.Sprint("map entry ", message.GetOptions().GetMapEntry())
	for _, field := range message.Field {
		oneof := "none"
		if field.OneofIndex != nil {
			oneof = message.OneofDecl[field.GetOneofIndex()].GetName()
		}
		all["field "+string(name)+"."+field.GetName()] = fmt.Sprint(
			"number ", field.GetNumber(), ", ", field.GetType(), ", ", field.GetLabel(), ", of ", field.GetTypeName(),
			", oneof ", oneof, ", optional ", field.GetProto3Optional(), ", packed ", field.GetOptions().GetPacked())
	}
	for _, nested := range message.NestedType {
		all.message(name, nested)
	}
	for _, nested := range message.EnumType {
		all.enum(name, nested)
	}
}

func (all declarations) enum(in protoreflect.FullName, enum *descriptorpb.EnumDescriptorProto) {
	name := string(in.Append(protoreflect.Name(enum.GetName())))
	all["enum "+name] = fmt.Sprint("alias ", enum.GetOptions().GetAllowAlias())
	for _, value := range enum.Value {
		all["value "+name+"."+value.GetName()] = fmt.Sprint(value.GetNumber())
	}
}

func (all declarations) service(in protoreflect.FullName, service *descriptorpb.ServiceDescriptorProto) {
	name := string(in.Append(protoreflect.Name(service.GetName())))
	all["service "+name] = "service"
	for _, method := range service.Method {
		all["method "+name+"."+method.GetName()] = fmt.Sprint(
			"stream ", method.GetClientStreaming(), " of ", method.GetInputType(),
			", answers stream ", method.GetServerStreaming(), " of ", method.GetOutputType())
	}
}

func (all declarations) file(file *descriptorpb.FileDescriptorProto) {
	name := protoreflect.FullName(file.GetPackage())
	for _, message := range file.MessageType {
		all.message(name, message)
	}
	for _, enum := range file.EnumType {
		all.enum(name, enum)
	}
	for _, service := range file.Service {
		all.service(name, service)
	}
}

func differences(ours, theirs declarations) []string {
	var found []string
	for name, here := range ours {
		if there, ok := theirs[name]; !ok {
			found = append(found, name+": only in proto/")
		} else if here != there {
			found = append(found, fmt.Sprintf("%s:\n  proto/  %s\n  module  %s", name, here, there))
		}
	}
	for name := range theirs {
		if _, ok := ours[name]; !ok && !strings.HasPrefix(name, "service "+unused) && !strings.HasPrefix(name, "method "+unused) {
			found = append(found, name+": only in the module")
		}
	}
	sort.Strings(found)
	return found
}

func run(path string) error {
	bytes, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var declared descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(bytes, &declared); err != nil {
		return err
	}
	ours, theirs := declarations{}, declarations{}
	for _, file := range declared.File {
		official, err := protoregistry.GlobalFiles.FindFileByPath(file.GetName())
		if err != nil {
			return fmt.Errorf("%s: %w", file.GetName(), err)
		}
		ours.file(file)
		theirs.file(protodesc.ToFileDescriptorProto(official))
	}
	if found := differences(ours, theirs); len(found) > 0 {
		for _, difference := range found {
			fmt.Println(difference)
		}
		return fmt.Errorf("%d declarations differ", len(found))
	}
	if len(ours) < atLeast {
		return fmt.Errorf("only %d declarations were compared", len(ours))
	}
	fmt.Printf("%d declarations of %d files are those of the module\n", len(ours), len(declared.File))
	return nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: contract <file>")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "contract:", err)
		os.Exit(1)
	}
}
